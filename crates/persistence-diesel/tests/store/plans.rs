//! Which index SQLite takes for the lists of jobs, with the statistics that it has: none.

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};

use crate::support::{Raw, TestDatabase};

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    detail: String,
}

fn plan(statement: &str) -> String {
    let db = TestDatabase::sqlite();
    let Raw::Sqlite(mut connection) = db.raw() else {
        panic!("it is SQLite");
    };
    let lines: Vec<Line> = sql_query(format!("EXPLAIN QUERY PLAN {statement}"))
        .load(&mut connection)
        .unwrap();
    let lines: Vec<String> = lines.into_iter().map(|line| line.detail).collect();
    lines.join("; ")
}

#[test]
fn a_list_of_jobs_reads_only_what_it_shows() {
    const FAILED: &str = "(status = 'failed' AND finished_at IS NOT NULL)";
    const RUNNING: &str = "(status = 'running' AND finished_at IS NULL)";
    for (choice, index) in [
        (FAILED.to_owned(), "jobs_ended (status=?)"),
        (RUNNING.to_owned(), "jobs_open (status=?)"),
        ("kind = 'a'".to_owned(), "jobs_of_kind (kind=?)"),
        ("node_id = 'a'".to_owned(), "jobs_of_node (node_id=?)"),
        ("site_id = 'a'".to_owned(), "jobs_of_site (site_id=?)"),
        (
            format!("{FAILED} AND kind = 'a'"),
            "jobs_ended_of_kind (kind=? AND status=?)",
        ),
        (
            format!("{FAILED} AND node_id = 'a'"),
            "jobs_ended_of_node (node_id=? AND status=?)",
        ),
        (
            format!("{FAILED} AND site_id = 'a'"),
            "jobs_ended_of_site (site_id=? AND status=?)",
        ),
        (format!("{RUNNING} AND kind = 'a'"), "jobs_open (status=?)"),
        (
            "kind = 'a' AND node_id = 'b'".to_owned(),
            "jobs_of_node_by_kind (node_id=? AND kind=?)",
        ),
    ] {
        let plan = plan(&format!("SELECT * FROM jobs WHERE {choice} ORDER BY id DESC LIMIT 31"));
        assert_eq!(plan, format!("SEARCH jobs USING INDEX {index}"), "{choice}");
    }
}
