//! Reads the options of a command.

use crate::failure::Failure;

/// An option: all its names without dashes, and whether it takes a value.
pub(crate) type OptionSpec = (&'static [&'static str], bool);

/// What stood on a command line.
#[derive(Debug, Default)]
pub(crate) struct Args {
    options: Vec<(&'static str, String)>,
    pub(crate) positional: Vec<String>,
}

impl Args {
    /// Reads words by the options that a command knows. They may stand after positionals, and be written `--x=v`.
    pub(crate) fn parse(words: &[String], known: &[OptionSpec]) -> Result<Self, Failure> {
        let mut args = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                args.positional.extend(words.by_ref().cloned());
            } else if let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))
                && !option.is_empty()
            {
                let (name, inline) = match option.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (option, None),
                };
                let fits = |(names, _): &&OptionSpec| {
                    let dashes = if name.len() == 1 { 1 } else { 2 };
                    names.contains(&name) && word.len() - option.len() == dashes
                };
                let Some((names, takes_value)) = known.iter().find(fits) else {
                    return Err(Failure::refused(format!("Unknown option '{name}'.")));
                };
                let value = match (takes_value, inline) {
                    (true, Some(value)) => value,
                    (true, None) => {
                        let missing = || Failure::refused(format!("Missing value after '{word}'."));
                        words.next().cloned().ok_or_else(missing)?
                    }
                    (false, None) => String::new(),
                    (false, Some(_)) => return Err(Failure::refused(format!("Unexpected value after '--{name}'."))),
                };
                args.options.push((names[0], value));
            } else {
                args.positional.push(word.clone());
            }
        }
        Ok(args)
    }

    /// The last value of the option whose first name is `name`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let given = self.options.iter().rev().find(|(given, _)| *given == name);
        given.map(|(_, value)| value.as_str())
    }

    /// Whether the option whose first name is `name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The seconds of `--timeout`.
    pub(crate) fn timeout(&self) -> Result<Option<u64>, Failure> {
        let Some(text) = self.value("timeout") else {
            return Ok(None);
        };
        match text.parse() {
            Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
            _ => Err(Failure::refused("error: --timeout value has to be a positive integer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[OptionSpec] = &[(&["name", "n"], true), (&["purge", "p"], false)];

    fn parse(words: &[&str]) -> Result<Args, Failure> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Args::parse(&words, KNOWN)
    }

    #[test]
    fn options_stand_anywhere_until_two_dashes() {
        for words in [
            ["a", "--name", "x", "-p"].as_slice(),
            &["--name=x", "a", "--purge"],
            &["-p", "-n", "x", "--", "a"],
        ] {
            let args = parse(words).unwrap();
            assert_eq!((args.value("name"), args.has("purge")), (Some("x"), true), "{words:?}");
            assert_eq!(args.positional, ["a"]);
        }
        let args = parse(&["a", "--", "-p", "--", "--name"]).unwrap();
        assert_eq!(args.positional, ["a", "-p", "--", "--name"]);
        assert_eq!(parse(&["--name", "-"]).unwrap().value("name"), Some("-"));
    }

    #[test]
    fn an_unknown_option_and_a_missing_value_end_with_1() {
        for words in [
            ["--nam", "x"].as_slice(),
            &["--name"],
            &["--n", "x"],
            &["--purge=1"],
            &["-x"],
        ] {
            assert_eq!(parse(words).unwrap_err().code, 1, "{words:?}");
        }
    }
}
