//! `docs/data-model.md` tells of the tables, columns and indexes that the migrations make, and of no others.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};

use crate::schema::{Column, made, tables};
use crate::support::{Raw, TestDatabase, store_tests};

/// A table as the page tells of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    columns: Vec<Column>,
    indexes: BTreeSet<String>,
}

/// The tables of a page: a heading `## <table>` each, below it rows of columns (name, type, null, meaning) and rows of
/// indexes (name, on, why).
fn told(page: &str) -> BTreeMap<String, Told> {
    let mut tables: BTreeMap<String, Told> = BTreeMap::new();
    let mut table = None;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let name = heading.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
            table = name.map(|name| tables.entry(name.to_owned()).or_default());
            continue;
        }
        let (Some(table), Some(row)) = (&mut table, line.strip_prefix("| `")) else {
            continue;
        };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_owned();
        // A row ends in `|`, behind which nothing stands.
        match cells[..] {
            [_, sql_type, null, meaning, ""] => {
                assert!(!meaning.is_empty(), "{name} has no meaning");
                table.columns.push(Column {
                    name,
                    sql_type: sql_type.to_owned(),
                    nullable: null == "yes",
                });
            }
            [_, _, _, ""] => assert!(table.indexes.insert(name)),
            _ => panic!("neither a column nor an index: {line}"),
        }
    }
    tables
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The indexes that migrations name; those behind keys and UNIQUE columns are the database's own.
fn indexes(db: &TestDatabase, table: &str) -> BTreeSet<String> {
    let rows: Vec<Name> = match db.raw() {
        Raw::Sqlite(mut connection) => {
            sql_query("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?")
                .bind::<Text, _>(table)
                .load(&mut connection)
        }
        Raw::Postgres(mut connection) => sql_query(
            "SELECT indexname::text AS name FROM pg_indexes WHERE schemaname = current_schema() AND tablename = $1
                AND indexname NOT IN (SELECT conname FROM pg_constraint)",
        )
        .bind::<Text, _>(table)
        .load(&mut connection),
    }
    .unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

store_tests! {
    async fn the_page_of_the_data_model_tells_what_the_migrations_make(db) {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/data-model.md");
        let told = told(&std::fs::read_to_string(page).unwrap());
        let names: Vec<_> = told.keys().cloned().collect();
        assert_eq!(names, tables(&db));
        for (table, told) in told {
            assert_eq!(told.columns, made(&db, &table), "{table}");
            assert_eq!(told.indexes, indexes(&db, &table), "{table}");
        }
    }
}

#[test]
fn a_page_is_read_by_its_headings_and_rows() {
    let page = "# M\n| `x` | y | z |\n## `a`\n\n| column | type | null | meaning |\n|---|---|---|---|\n\
                | `id` | text | | the id |\n| `at` | bigint | yes | when |\n\n| index | on | why |\n| `a_by_at` | at | speed |\n## Other\n| `b` |\n";
    let told = told(page);
    assert_eq!(told.len(), 1);
    let column = |name: &str, sql_type: &str, nullable| Column {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        nullable,
    };
    assert_eq!(
        told["a"],
        Told {
            columns: vec![column("id", "text", false), column("at", "bigint", true)],
            indexes: BTreeSet::from(["a_by_at".to_owned()]),
        }
    );
}
