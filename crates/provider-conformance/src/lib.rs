//! For tests only: the rules of `contracts/node-provider.md` as tests that every provider of nodes passes, in this repository
//! or outside of it. `docs/adding-a-provider.md` walks through it; `tests/machines_in_a_folder` is a whole example.
//!
//! A crate with a provider writes a [`World`], which holds the provider and looks at its machines behind its back, and says
//!
//! ```ignore
//! provider_conformance::conformance_tests!(MyWorld::new().await);
//! ```
//!
//! which is one test per rule or group of rules, named after them (`np_04_a_repeated_acquire_adopts_its_own_machine`). A
//! module around it gives them a prefix.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test crate: a broken rule is a panic"
)]

mod bench;
pub mod contract;
#[doc(hidden)]
pub mod rules;
mod troubled_runner;
mod world;

pub use bench::{Bench, run};
pub use troubled_runner::{RAW_OUTPUT, TroubledRunner};
pub use world::{KeysFile, Machine, Trouble, World, sudo_over_ssh};

/// The names of all the tests.
pub const TESTS: &[&str] = every_test! { expand_names };

/// One test for each rule of a provider, or for several rules that one machine shows. The expression is a new [`World`] for
/// each of them, and may await.
#[macro_export]
macro_rules! conformance_tests {
    ($world:expr) => {
        $crate::every_test! { expand_tests $world }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! every_test {
    ($expand:ident $($with:tt)*) => {
        $crate::$expand! { { $($with)* }
            only_rules_that_may_be_left_out_are
            np_01_the_id_and_the_source_are_the_same_after_a_restart
            np_02_a_machine_is_known_by_its_instance_alone
            np_03_np_09_machines_that_are_acquired_at_the_same_time_do_not_touch_each_other
            np_04_a_repeated_acquire_adopts_its_own_machine
            np_05_an_acquire_that_is_broken_off_anywhere_is_finished_by_the_next
            np_06_np_07_np_17_a_machine_runs_where_it_was_told_with_the_host_key_that_was_told
            np_08_a_machine_that_is_not_the_instances_own_is_refused_and_left_as_it_is
            np_10_what_a_failed_acquire_left_is_no_obstacle_to_the_next
            np_11_np_12_np_13_a_key_stands_once_beside_the_others_in_a_file_that_sshd_accepts
            np_15_looking_changes_nothing
            np_16_only_a_machine_that_is_known_not_to_be_there_is_absent
            np_18_a_provider_that_cannot_work_says_what_is_missing_and_makes_nothing
            np_19_a_release_leaves_nothing_but_what_it_names
            np_20_an_absent_or_half_made_machine_is_released
            np_21_a_release_that_fails_says_what_is_left_and_goes_on_when_asked_again
            np_22_a_release_leaves_what_is_shared
            np_23_a_call_that_hangs_ends_by_its_deadline_with_all_its_processes
            np_24_a_call_that_is_cancelled_ends_soon_with_all_its_processes
            np_25_no_value_stands_inside_a_line_of_shell
            np_26_failures_have_codes_of_the_contract
            np_27_raw_output_goes_to_the_log_and_not_into_the_failure
            np_29_a_machine_of_which_no_new_image_is_made_is_left_alone
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! expand_tests {
    ({ $world:expr } $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run(stringify!($name), async { $world }, $crate::rules::$name)
            }
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! expand_names {
    ({} $($name:ident)*) => { &[$(stringify!($name)),*] };
}
