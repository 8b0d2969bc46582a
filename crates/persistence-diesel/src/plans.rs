//! Which index SQLite takes for the statements that are asked again and again, with the statistics that it has: none. Of
//! the lists of jobs this is tested where the tests of the stores are.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel_migrations::MigrationHarness;

use crate::migrations::SQLITE;
use crate::{claim, overview};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    detail: String,
}

fn plan(statement: &str) -> String {
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    connection.run_pending_migrations(SQLITE).unwrap();
    let lines: Vec<Line> = sql_query(format!("EXPLAIN QUERY PLAN {statement}"))
        .load(&mut connection)
        .unwrap();
    let lines: Vec<String> = lines.into_iter().map(|line| line.detail).collect();
    lines.join("; ")
}

#[test]
fn a_claim_walks_the_line() {
    let plan = plan(&claim::statement());
    assert!(plan.contains("SCAN job USING INDEX jobs_in_line"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
}

/// On both sides an expression: to a plain column SQLite would compare no index of an expression.
#[test]
fn the_overview_finds_failed_jobs_and_later_ones_of_what_they_work_on() {
    let plan = plan(overview::FAILED_JOBS);
    assert!(plan.contains("SEARCH jobs USING INDEX jobs_ended (status=?"), "{plan}");
    assert!(plan.contains("INDEX jobs_of_thing (<expr>=? AND kind=?"), "{plan}");
}
