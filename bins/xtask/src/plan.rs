//! The task ids of the change in work: each has a command and a state in PLAN.md, the same state in the change's own list,
//! and the same command in `docs/contract-traceability.md`. Commands name what exists.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::Report;
use crate::markdown::{all_rows, quoted, rows_below};
use crate::repo::Repo;

const PLAN: &str = "PLAN.md";
const TASKS: &str = "changes/node-acquisition-parity/tasks.md";
const PAGE: &str = "docs/contract-traceability.md";
const HEADING: &str = "## Tasks";

/// The states and how the list of tasks marks each.
const STATES: &[(&str, &str)] = &[("done", "x"), ("in part", "~"), ("to come", " ")];

/// What stands where a command has not been made yet.
const TO_COME: &str = "(to come)";

/// A task of PLAN.md.
struct Task<'a> {
    command: &'a str,
    state: &'a str,
}

/// Checks the plan.
pub(crate) fn check(repo: &Repo) -> Result<Report> {
    let paths: Vec<String> = repo.files()?.into_iter().map(|file| file.path).collect();
    let (plan, tasks, page) = (repo.read(PLAN)?, repo.read(TASKS)?, repo.read(PAGE)?);
    let planned = planned(&plan);
    ensure!(!planned.is_empty(), "{PLAN} has no task");
    let mut problems = Vec::new();
    for (id, task) in &planned {
        let wrong = of_task(task, &paths).into_iter();
        problems.extend(wrong.map(|what| format!("{PLAN}: {id}: {what}")));
    }
    problems.extend(listed(&tasks, &planned));
    problems.extend(traced(&page, &planned));
    Ok(Report {
        looked_at: format!("{} tasks", planned.len()),
        problems,
    })
}

/// The tasks: rows of five cells whose first is an id.
fn planned(plan: &str) -> BTreeMap<String, Task<'_>> {
    let mut found = BTreeMap::new();
    for cells in all_rows(plan) {
        if let [id, _, _, command, state] = cells[..]
            && is_id(id)
        {
            found.insert(id.to_owned(), Task { command, state });
        }
    }
    found
}

fn is_id(text: &str) -> bool {
    let digit = text.strip_prefix('T').and_then(|rest| rest.chars().next());
    digit.is_some_and(|c| c.is_ascii_digit())
}

fn of_task(task: &Task<'_>, paths: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    let state = STATES.iter().find(|(state, _)| task.state.starts_with(state));
    if state.is_none() {
        problems.push(format!("its state is none of done, in part, to come: {}", task.state));
    }
    let is_done = task.state.starts_with("done");
    let commands = quoted(task.command);
    if commands.is_empty() && (is_done || !task.command.contains(TO_COME)) {
        problems.push("no command verifies it".to_owned());
    }
    if is_done && task.command.contains(TO_COME) {
        problems.push("it is done, and its command is to come".to_owned());
    }
    for command in commands {
        let missing = missing(command, paths);
        let excused = task.command.contains(&format!("`{command}` {TO_COME}"));
        if let Some(what) = missing.filter(|_| !excused) {
            problems.push(format!("`{command}` names {what}, which is not there"));
        }
    }
    problems
}

/// What a command names that does not exist: a package behind `-p`, or a script.
fn missing(command: &str, paths: &[String]) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    let packages = words.windows(2).filter(|pair| pair[0] == "-p").map(|pair| pair[1]);
    let is_package = |name: &str| {
        let folders = ["crates", "bins", "tests"].map(|folder| format!("{folder}/{name}/"));
        paths
            .iter()
            .any(|path| folders.iter().any(|folder| path.starts_with(folder.as_str())))
    };
    let mut missing = packages
        .filter(|name| !is_package(name))
        .map(|name| format!("the package {name}"));
    let script = words.iter().find(|word| word.starts_with("scripts/"));
    let script = script.filter(|script| !paths.iter().any(|path| path == *script));
    missing.next().or_else(|| script.map(|script| (*script).to_owned()))
}

/// The change's own list: `- [x] **T1** ...`.
fn listed(tasks: &str, planned: &BTreeMap<String, Task<'_>>) -> Vec<String> {
    let mut marks = BTreeMap::new();
    for line in tasks.lines() {
        let Some((mark, rest)) = line.strip_prefix("- [").and_then(|rest| rest.split_once("] **")) else {
            continue;
        };
        marks.insert(rest.split("**").next().unwrap_or_default(), mark);
    }
    let mut problems = Vec::new();
    for (id, task) in planned {
        let expected = STATES.iter().find(|(state, _)| task.state.starts_with(state));
        match (marks.remove(id.as_str()), expected) {
            (None, _) => problems.push(format!("{TASKS} has no task {id}")),
            (Some(mark), Some((state, expected))) if mark != *expected => {
                problems.push(format!("{TASKS}: {id} is marked [{mark}], and {PLAN} says {state}"));
            }
            (Some(_), _) => {}
        }
    }
    problems.extend(marks.keys().map(|id| format!("{PLAN} has no task {id}")));
    problems
}

/// The page's rows: an id and its command.
fn traced(page: &str, planned: &BTreeMap<String, Task<'_>>) -> Vec<String> {
    let rows = rows_below(page, HEADING);
    let mut told: BTreeMap<&str, &str> = rows
        .iter()
        .filter_map(|cells| Some((*cells.first()?, *cells.get(1)?)))
        .collect();
    let mut problems = Vec::new();
    for (id, task) in planned {
        match told.remove(id.as_str()) {
            None => problems.push(format!("{PAGE} has no task {id}")),
            Some(command) if command != task.command => {
                problems.push(format!("{PAGE}: {id} is verified by another command than in {PLAN}"));
            }
            Some(_) => {}
        }
    }
    problems.extend(told.keys().map(|id| format!("{PAGE}: {PLAN} has no task {id}")));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "| T1 | what | - | `cargo nextest run -p api`; `bash scripts/check` | done |";

    fn plan(row: &str) -> String {
        format!("| id | what | depends on | verified by | state |\n|---|---|---|---|---|\n{row}\n")
    }

    fn found(row: &str) -> Vec<String> {
        let paths = ["crates/api/Cargo.toml", "scripts/check"].map(str::to_owned);
        let plan = plan(row);
        let planned = planned(&plan);
        planned.values().flat_map(|task| of_task(task, &paths)).collect()
    }

    #[test]
    fn a_task_with_a_command_that_exists_and_a_state_is_well() {
        assert_eq!(found(ROW), Vec::<String>::new());
        assert_eq!(
            found("| T2 | a | - | smokes (to come) | to come |"),
            Vec::<String>::new()
        );
        let excused = "| T2 | a | - | `bash scripts/other` (to come) | in part: b |";
        assert_eq!(found(excused), Vec::<String>::new());
    }

    #[test]
    fn a_task_without_a_state_or_a_command_that_exists_is_found() {
        for (right, wrong, expected) in [
            ("done", "", "its state is none"),
            (
                "`cargo nextest run -p api`; `bash scripts/check`",
                "tests",
                "no command",
            ),
            ("scripts/check`", "scripts/check` (to come)", "its command is to come"),
            ("-p api", "-p apis", "the package apis"),
            ("scripts/check", "scripts/checks", "scripts/checks"),
        ] {
            let found = found(&ROW.replace(right, wrong));
            assert!(found.len() == 1 && found[0].contains(expected), "{wrong}: {found:?}");
        }
    }

    #[test]
    fn the_list_of_tasks_has_the_plans_ids_and_states() {
        let plan = plan(ROW);
        let planned = planned(&plan);
        assert_eq!(listed("- [x] **T1** a\n  - [ ] part\n", &planned), Vec::<String>::new());
        assert_eq!(
            listed("- [~] **T1** a\n- [x] **T9** b\n", &planned),
            [
                format!("{TASKS}: T1 is marked [~], and {PLAN} says done"),
                format!("{PLAN} has no task T9")
            ]
        );
        assert_eq!(listed("", &planned), [format!("{TASKS} has no task T1")]);
    }

    #[test]
    fn the_page_has_the_plans_ids_and_commands() {
        let plan = plan(ROW);
        let planned = planned(&plan);
        let page = |row: &str| format!("{HEADING}\n\n| id | verified by |\n|---|---|\n{row}\n");
        let right = page("| T1 | `cargo nextest run -p api`; `bash scripts/check` |");
        assert_eq!(traced(&right, &planned), Vec::<String>::new());
        assert!(traced(&page("| T1 | `true` |"), &planned)[0].contains("another command"));
        assert_eq!(traced(&page("| T9 | `true` |"), &planned).len(), 2);
    }
}
