//! The tests, one function each. Where a rule says something else of hosts of the operator's, so does its test.

mod acquire;
mod keys;
mod limits;
mod looking;
mod release;

pub use acquire::*;
pub use keys::*;
pub use limits::*;
pub use looking::*;
pub use release::*;

use crate::{Bench, World, contract};

/// What is left out is what the contract lets be left out, each with a reason.
pub async fn only_rules_that_may_be_left_out_are<W: World>(bench: &Bench<W>) {
    let rules = contract::rules();
    for (rule, why) in bench.world.not_applicable() {
        let may_be = rules
            .iter()
            .any(|known| known.number == *rule && known.may_be_left_out());
        assert!(may_be, "{rule} may not be left out ({why})");
        assert!(!why.trim().is_empty(), "{rule} is left out without a reason");
    }
}
