//! Markdown as far as the checks read it: the rows of tables, what stands in backticks, and links.

/// The cells of each row of a table, its head and its rule left out. Only the tables below a heading count.
pub(crate) fn rows_below<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let mut lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let mut section = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.starts_with("## ")) {
        section.push(line);
    }
    rows(&section)
}

/// The cells of each row of the tables of a text.
pub(crate) fn all_rows(text: &str) -> Vec<Vec<&str>> {
    rows(&text.lines().collect::<Vec<_>>())
}

fn rows<'a>(lines: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut in_table = false;
    for line in lines {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            in_table = false;
            continue;
        };
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        if cells.iter().all(|cell| cell.chars().all(|c| "-:".contains(c))) && !cells.concat().is_empty() {
            in_table = true;
        } else if in_table {
            found.push(cells);
        }
    }
    found
}

/// What stands in backticks.
pub(crate) fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The targets of a text's links that lead to files of the repository, without what follows a `#`.
pub(crate) fn local_links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A\n\n## One\n\n| a | b |\n|---|---|\n| `x` | 1, `y` |\n\n## Two\n| c |\n|:--|\n| d |\n";

    #[test]
    fn rows_are_those_below_the_heading_without_head_and_rule() {
        assert_eq!(rows_below(TEXT, "## One"), [["`x`", "1, `y`"]]);
        assert_eq!(rows_below(TEXT, "## Two"), [["d"]]);
        assert!(rows_below(TEXT, "## Three").is_empty());
        assert_eq!(all_rows(TEXT).len(), 2);
    }

    #[test]
    fn quoted_texts_and_links_to_files_are_found() {
        assert_eq!(quoted("`a` b `c d`"), ["a", "c d"]);
        assert_eq!(
            local_links("[a](b.md#c) [d](https://e) [f](#g) [h](../i) `x[0](y z)`"),
            ["b.md", "../i"]
        );
    }
}
