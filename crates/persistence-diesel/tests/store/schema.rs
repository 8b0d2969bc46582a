//! `schema.rs` says what the migrations make: the same tables, columns, types and nullability.

use diesel::prelude::*;
use diesel::sql_types::{self, Bool, Text};
use diesel::{QueryableByName, sql_query};
use persistence_diesel::schema;

use crate::support::{Raw, TestDatabase, store_tests};

/// A column, as either side describes it.
#[derive(Debug, PartialEq, Eq, QueryableByName)]
pub(crate) struct Column {
    #[diesel(sql_type = Text)]
    pub(crate) name: String,
    #[diesel(sql_type = Text)]
    pub(crate) sql_type: String,
    #[diesel(sql_type = Bool)]
    pub(crate) nullable: bool,
}

trait Described {
    const TYPE: &'static str;
    const NULLABLE: bool = false;
}

impl Described for sql_types::Text {
    const TYPE: &'static str = "text";
}
impl Described for sql_types::BigInt {
    const TYPE: &'static str = "bigint";
}
impl Described for sql_types::Integer {
    const TYPE: &'static str = "integer";
}
impl Described for sql_types::Bool {
    const TYPE: &'static str = "boolean";
}
impl<T: Described + sql_types::SqlType<IsNull = sql_types::is_nullable::NotNull>> Described for sql_types::Nullable<T> {
    const TYPE: &'static str = T::TYPE;
    const NULLABLE: bool = true;
}

/// The columns of a table of `schema.rs`.
trait Columns {
    fn columns() -> Vec<Column>;
}

macro_rules! columns_of_tuples {
    () => {};
    ($head:ident $($tail:ident)*) => {
        impl<$head, $($tail),*> Columns for ($head, $($tail,)*)
        where
            $head: diesel::Column<SqlType: Described>,
            $($tail: diesel::Column<SqlType: Described>,)*
        {
            fn columns() -> Vec<Column> {
                vec![column::<$head>(), $(column::<$tail>(),)*]
            }
        }
        columns_of_tuples!($($tail)*);
    };
}
columns_of_tuples!(A B C D E F G H I J K L M N O P Q R S T U V W X);

fn column<C: diesel::Column<SqlType: Described>>() -> Column {
    Column {
        name: C::NAME.to_owned(),
        sql_type: <C::SqlType as Described>::TYPE.to_owned(),
        nullable: <C::SqlType as Described>::NULLABLE,
    }
}

fn columns<T: diesel::Table<AllColumns: Columns>>(_: T) -> Vec<Column> {
    T::AllColumns::columns()
}

fn declared() -> Vec<(&'static str, Vec<Column>)> {
    vec![
        ("accounts", columns(schema::accounts::table)),
        ("audit", columns(schema::audit::table)),
        ("backups", columns(schema::backups::table)),
        ("environments", columns(schema::environments::table)),
        ("events", columns(schema::events::table)),
        ("idempotency_keys", columns(schema::idempotency_keys::table)),
        ("job_exclusions", columns(schema::job_exclusions::table)),
        ("job_steps", columns(schema::job_steps::table)),
        ("jobs", columns(schema::jobs::table)),
        ("nodes", columns(schema::nodes::table)),
        ("sessions", columns(schema::sessions::table)),
        ("sites", columns(schema::sites::table)),
    ]
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

pub(crate) fn tables(db: &TestDatabase) -> Vec<String> {
    let rows: Vec<Name> = match db.raw() {
        Raw::Sqlite(mut connection) => sql_query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                AND name <> '__diesel_schema_migrations' ORDER BY name",
        )
        .load(&mut connection),
        Raw::Postgres(mut connection) => sql_query(
            "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = current_schema()
                AND table_name <> '__diesel_schema_migrations' ORDER BY name",
        )
        .load(&mut connection),
    }
    .unwrap();
    rows.into_iter().map(|row| row.name).collect()
}

pub(crate) fn made(db: &TestDatabase, table: &str) -> Vec<Column> {
    match db.raw() {
        // SQLite's row number is declared INTEGER and holds 64 bits.
        Raw::Sqlite(mut connection) => sql_query(
            "SELECT name, CASE WHEN pk = 1 AND type = 'INTEGER' THEN 'bigint' ELSE lower(type) END AS sql_type,
                \"notnull\" = 0 AS nullable FROM pragma_table_info(?) ORDER BY cid",
        )
        .bind::<Text, _>(table)
        .load(&mut connection),
        Raw::Postgres(mut connection) => sql_query(
            "SELECT column_name::text AS name, data_type::text AS sql_type, is_nullable = 'YES' AS nullable
                FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
                ORDER BY ordinal_position",
        )
        .bind::<Text, _>(table)
        .load(&mut connection),
    }
    .unwrap()
}

store_tests! {
    async fn the_schema_says_what_the_migrations_make(db) {
        let names: Vec<_> = declared().iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(tables(&db), names);
        for (name, columns) in declared() {
            assert_eq!(made(&db, name), columns, "{name}");
        }
    }
}
