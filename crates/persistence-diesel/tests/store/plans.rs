//! Which index SQLite takes for what is asked again and again, with the statistics that it has: none.

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
fn a_claim_walks_the_line() {
    let claim = "SELECT job.id FROM jobs AS job WHERE job.status = 'queued' AND job.run_after <= 1
        AND (job.cancel_requested OR NOT EXISTS (SELECT 1 FROM job_exclusions AS mine
            JOIN job_exclusions AS other ON other.key = mine.key WHERE mine.job_id = job.id AND other.held))
        ORDER BY job.created_at, job.id LIMIT 1";
    let plan = plan(claim);
    assert!(plan.starts_with("SCAN job USING INDEX jobs_in_line"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
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

/// On both sides an expression: to a plain column SQLite would compare no index of an expression.
#[test]
fn the_overview_finds_later_jobs_by_what_they_work_on() {
    let later = "SELECT id FROM jobs WHERE status = 'failed' AND finished_at >= 1
        AND NOT EXISTS (SELECT 1 FROM jobs AS later
            WHERE COALESCE(later.environment_id, later.node_id) = COALESCE(jobs.environment_id, jobs.node_id)
                AND later.kind = jobs.kind AND later.id > jobs.id AND later.status <> 'cancelled')";
    let plan = plan(later);
    assert!(plan.contains("INDEX jobs_of_thing (<expr>=? AND kind=?"), "{plan}");
}
