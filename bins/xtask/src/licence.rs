//! Licence expressions: SPDX with AND, OR, WITH and parentheses, and the older `/` for OR.

use anyhow::{Result, bail};

/// Whether an expression can be met with licences of `allowed` alone.
pub(crate) fn met_by(expression: &str, allowed: &[&str]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let met = parser.any()?;
    if !parser.words.is_empty() {
        bail!("not a licence expression: {expression}");
    }
    Ok(met)
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl Parser<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn any(&mut self) -> Result<bool> {
        let mut met = self.all()?;
        while self.takes("OR") {
            met |= self.all()?;
        }
        Ok(met)
    }

    fn all(&mut self) -> Result<bool> {
        let mut met = self.one()?;
        while self.takes("AND") {
            met &= self.one()?;
        }
        Ok(met)
    }

    fn one(&mut self) -> Result<bool> {
        if self.takes("(") {
            let met = self.any()?;
            if !self.takes(")") {
                bail!("a parenthesis of a licence expression is not closed");
            }
            return Ok(met);
        }
        let licence = self.name()?;
        if self.takes("WITH") {
            let with = format!("{licence} WITH {}", self.name()?);
            return Ok(self.allowed.contains(&with.as_str()));
        }
        Ok(self.allowed.contains(&licence.as_str()))
    }

    fn name(&mut self) -> Result<String> {
        match self.words.split_first() {
            Some((name, rest)) if !["(", ")", "AND", "OR", "WITH"].contains(name) => {
                self.words = rest;
                Ok((*name).to_owned())
            }
            _ => bail!("a licence expression lacks a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_one_of_its_choices_and_all_of_its_parts() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
        let cases = [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("GPL-2.0/MIT", true),
            ("Apache-2.0 / MIT", true),
            ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true),
            ("MIT WITH LLVM-exception", false),
        ];
        for (expression, met) in cases {
            assert_eq!(met_by(expression, &allowed).unwrap(), met, "{expression}");
        }
    }

    #[test]
    fn text_that_is_no_expression_is_an_error() {
        for text in ["", "MIT OR", "MIT Apache-2.0", "(MIT", "AND", "MIT)"] {
            assert!(met_by(text, &["MIT"]).is_err(), "{text:?}");
        }
    }
}
