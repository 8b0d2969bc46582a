//! Rust sources as far as the checks read them: what is a test and what is product code, comments left out, and the
//! functions. Formatted code is expected: a function ends at the line that closes it, as deep as the line that opens it.

use crate::repo::TextFile;

/// A function with its whole text.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Whether a test attribute stands above it, or it is a case of `store_tests!`.
    pub(crate) is_test: bool,
    /// From its `fn` line to the line that closes it, without comments.
    pub(crate) text: String,
}

/// A file's tests: all of it below a `tests` folder, else what follows `#[cfg(test)]`, which stands last in a file.
pub(crate) fn test_part(file: &TextFile) -> Option<&str> {
    let path = &file.path;
    let program = [".rs", ".py", ".sh", ".js", ".mjs", ".ts"]
        .iter()
        .any(|ending| path.ends_with(ending));
    if is_below_tests(path) && program {
        return Some(&file.text);
    }
    Some(&file.text[tests_at(file)?..])
}

/// A file's product code: Rust below `crates` and `bins`, up to `#[cfg(test)]`. Not what only serves tests or checks.
pub(crate) fn product_part(file: &TextFile) -> Option<&str> {
    let path = &file.path;
    let ours = path.starts_with("crates/") || path.starts_with("bins/");
    let serves = ["crates/test-support/", "crates/provider-conformance/", "bins/xtask/"]
        .iter()
        .any(|folder| path.starts_with(folder));
    if !ours || serves || !path.ends_with(".rs") || is_below_tests(path) {
        return None;
    }
    Some(&file.text[..tests_at(file).unwrap_or(file.text.len())])
}

fn is_below_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn tests_at(file: &TextFile) -> Option<usize> {
    let rust = file.path.ends_with(".rs");
    rust.then(|| file.text.find("#[cfg(test)]\nmod "))?
}

/// A line without the comment at its end.
pub(crate) fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

/// Every function of a Rust text, those within others too.
pub(crate) fn functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().map(without_comment).collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        let depth = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{depth}}}");
        let whole = line.ends_with([';', '}']);
        let rest = &lines[number..];
        let length = if whole {
            1
        } else {
            rest.iter()
                .position(|line| *line == closing)
                .map_or(rest.len(), |at| at + 1)
        };
        let attributes = lines[..number]
            .iter()
            .rev()
            .take_while(|line| line.trim().starts_with('#'));
        let mut attributes = attributes.map(|line| line.trim());
        let marked = |line: &str| line.contains("test]") || line.contains("::test(");
        found.push(Function {
            name,
            is_test: attributes.any(marked) || line.ends_with("(db) {"),
            text: rest[..length].join("\n"),
        });
    }
    found
}

/// The name of the function that a line declares.
fn declared(line: &str) -> Option<String> {
    let line = line.trim_start();
    let (before, after) = line.split_once("fn ")?;
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "async", "const"];
    if !before.split_whitespace().all(|word| qualifiers.contains(&word)) {
        return None;
    }
    let end = after.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    Some(after[..end].to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn tests_and_product_code_of_a_file_are_told_apart() {
        let mixed = file("crates/a/src/lib.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(product_part(&mixed), Some("fn a() {}\n"));
        assert_eq!(test_part(&mixed), Some("#[cfg(test)]\nmod tests {\n}\n"));
        let whole = file("crates/a/tests/all.rs", "x");
        assert_eq!((product_part(&whole), test_part(&whole)), (None, Some("x")));
        let fake = file("crates/test-support/src/lib.rs", "x");
        assert_eq!((product_part(&fake), test_part(&fake)), (None, None));
        let page = file("tests/browser/nodes.mjs", "x");
        assert_eq!((product_part(&page), test_part(&page)), (None, Some("x")));
    }

    #[test]
    fn a_comment_ends_a_line_and_an_address_within_a_text_does_not() {
        assert_eq!(without_comment("a(); // b"), "a();");
        assert_eq!(without_comment("a(\"http://b\"); // c"), "a(\"http://b\");");
        assert_eq!(without_comment(r#"a("\"//"); // c"#), r#"a("\"//");"#);
        assert_eq!(without_comment("    /// b"), "");
    }

    #[test]
    fn functions_are_found_with_their_texts_and_whether_they_are_tests() {
        let text = "fn one() -> u8 { 1 }\n\n#[tokio::test]\nasync fn two() {\n    // three\n    fn four() {\n        5\n    }\n}\n\
                    store_tests! {\n    async fn six(db) {\n        seven();\n    }\n}\nlet fn_name = 8;\n";
        let found: Vec<_> = functions(text)
            .into_iter()
            .map(|function| (function.name, function.is_test, function.text))
            .collect();
        let expected = [
            ("one", false, "fn one() -> u8 { 1 }"),
            ("two", true, "async fn two() {\n\n    fn four() {\n        5\n    }\n}"),
            ("four", false, "    fn four() {\n        5\n    }"),
            ("six", true, "    async fn six(db) {\n        seven();\n    }"),
        ];
        let expected = expected.map(|(name, is_test, text)| (name.to_owned(), is_test, text.to_owned()));
        assert_eq!(found, expected);
    }
}
