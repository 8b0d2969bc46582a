//! Looking for a part of a text. `LIKE` is not taken: its wildcards would have to be kept out, and the databases do not
//! agree on what it makes of upper and lower case.

use ::jobs::SearchText;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::connection::{AnyBackend, AnyConnection};

/// A condition on the rows of a table.
pub(crate) type BoxedCondition<Table> = Box<dyn BoxableExpression<Table, AnyBackend, SqlType = Bool>>;

/// Whether a text is a part of one of these, each given as an expression; `NULL` has no part. They are joined by line feeds,
/// which nobody can look for.
pub(crate) fn is_in_one<Table>(
    connection: &AnyConnection,
    texts: &[String],
    search: &SearchText,
) -> BoxedCondition<Table> {
    let texts: Vec<String> = texts.iter().map(|text| format!("COALESCE({text}, '')")).collect();
    let texts = texts.join(" || '\n' || ");
    // Either makes small letters of ASCII ones alone.
    let begin = match connection {
        AnyConnection::Sqlite(_) => format!("(instr(lower({texts}), "),
        AnyConnection::Postgres(_) => format!("(strpos(lower(({texts}) COLLATE \"C\"), "),
    };
    Box::new(
        sql::<Bool>(&begin)
            .bind::<Text, _>(search.in_small_letters())
            .sql(") > 0)"),
    )
}

/// A field of a column that holds JSON, as a text.
pub(crate) fn field(connection: &AnyConnection, column: &str, field: &str) -> String {
    match connection {
        AnyConnection::Sqlite(_) => format!("json_extract({column}, '$.{field}')"),
        AnyConnection::Postgres(_) => format!("({column}::json ->> '{field}')"),
    }
}
