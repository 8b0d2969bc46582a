//! The contract's own table: which rules there are, and how each is held.

/// `contracts/node-provider.md`.
pub const TEXT: &str = include_str!("../../../contracts/node-provider.md");

/// A rule of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its number, as in `NP-04`.
    pub number: String,
    /// How it is held: the last column of its row.
    pub held_by: String,
}

impl Rule {
    /// Whether the suite tests it.
    pub fn is_tested_here(&self) -> bool {
        self.held_by.starts_with("suite")
    }

    /// Whether a provider may leave it out of the suite, with a reason.
    pub fn may_be_left_out(&self) -> bool {
        self.held_by.starts_with("suite, unless ")
    }
}

/// Every rule.
pub fn rules() -> Vec<Rule> {
    let rows = TEXT.lines().filter(|line| line.starts_with("| NP-"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "not a row of three cells: {row}");
        Rule {
            number: cells[0].to_owned(),
            held_by: cells[2].to_owned(),
        }
    })
    .collect()
}

/// The rules that a test is named after.
pub fn rules_of(test: &str) -> Vec<String> {
    let words: Vec<_> = test.split('_').collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "np");
    pairs.map(|pair| format!("NP-{}", pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TESTS;

    #[test]
    fn every_rule_that_the_contract_gives_to_the_suite_has_a_test_and_no_other_has() {
        let tested: Vec<_> = TESTS.iter().flat_map(|test| rules_of(test)).collect();
        let rules = rules();
        assert_eq!(rules.len(), 35);
        for rule in &rules {
            assert_eq!(tested.contains(&rule.number), rule.is_tested_here(), "{rule:?}");
            assert!(!rule.held_by.is_empty(), "{rule:?}");
        }
        for rule in &tested {
            assert!(rules.iter().any(|known| known.number == *rule), "{rule}");
        }
    }

    #[test]
    fn a_rule_that_may_be_left_out_has_a_test_of_its_own() {
        for test in TESTS {
            let of_test = rules_of(test);
            let leavable = rules().into_iter().filter(|rule| rule.may_be_left_out());
            let leavable = leavable.filter(|rule| of_test.contains(&rule.number)).count();
            assert!(leavable == 0 || of_test.len() == 1, "{test}");
        }
    }
}
