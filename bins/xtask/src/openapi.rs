//! The operations of `contracts/openapi.yaml`. The file is generated, so its form is known: paths and methods stand alone
//! on lines of two and four blanks, refusals as references to `#/components/responses`, or, where several share a status, as examples
//! with their code.

use std::collections::{BTreeMap, BTreeSet};

/// The codes that each operation can be refused with, by `METHOD path`.
pub(crate) type Operations = BTreeMap<String, BTreeSet<String>>;

/// Reads the document.
pub(crate) fn operations(document: &str) -> Operations {
    let mut found = Operations::new();
    let mut path = String::new();
    let mut operation = None;
    let paths = document.lines().skip_while(|line| *line != "paths:").skip(1);
    for line in paths.take_while(|line| line.starts_with(' ')) {
        if let Some(name) = key(line, 2) {
            path = name.trim_matches('"').to_owned();
        } else if let Some(method) = key(line, 4) {
            let name = format!("{} {path}", method.to_uppercase());
            found.insert(name.clone(), BTreeSet::new());
            operation = Some(name);
        } else if let Some(rest) = refusal(line)
            && let Some(codes) = operation.as_ref().and_then(|name| found.get_mut(name))
        {
            codes.insert(rest.trim_matches('"').to_owned());
        }
    }
    found
}

/// The code that a line refuses with, if it does.
fn refusal(line: &str) -> Option<&str> {
    let reference = line.split_once("#/components/responses/").map(|(_, rest)| rest);
    reference.or_else(|| line.trim_start().strip_prefix("code: "))
}

/// The key that a line consists of, if it stands exactly so deep.
fn key(line: &str, depth: usize) -> Option<&str> {
    let inner = line.strip_prefix(&" ".repeat(depth))?;
    inner.strip_suffix(':').filter(|key| !key.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_with_their_refusals() {
        let document = "openapi: \"3.1.0\"\npaths:\n  /a:\n    get:\n      responses:\n        \"200\":\n          description: x\n        \
                        \"400\":\n          \"$ref\": \"#/components/responses/bad_request\"\n    post:\n      tags:\n  \"/a/{id}\":\n    delete:\n      \
                        responses:\n        \"404\":\n          \"$ref\": \"#/components/responses/not_found\"\n        \"409\":\n          content:\n            \
                        application/json:\n              examples:\n                conflict:\n                  value:\n                    \
                        code: conflict\ncomponents:\n  responses:\n    \
                        internal:\n";
        let found = operations(document);
        let expected = [
            ("DELETE /a/{id}", vec!["conflict", "not_found"]),
            ("GET /a", vec!["bad_request"]),
            ("POST /a", vec![]),
        ];
        let expected: Operations = expected
            .into_iter()
            .map(|(name, codes)| (name.to_owned(), codes.into_iter().map(str::to_owned).collect()))
            .collect();
        assert_eq!(found, expected);
    }
}
