//! Which rows need attention, each said once as a condition on the row, for the overview and for the lists that show the
//! rest of what it counts. The conditions name statuses as plain text, so that the databases take the indexes that are made
//! for them; times are numbers of microseconds.

use sites_domain::BackupCut;

use crate::connection::AnyConnection;

/// Of a row of `nodes`: it is unreachable or failed, or active and was not found ready.
pub(crate) fn node_needs_attention(connection: &AnyConnection) -> String {
    let is_ready = was_found_ready(connection);
    format!("(nodes.status IN ('unreachable', 'failed') OR (nodes.status = 'active' AND {is_ready} IS NOT TRUE))")
}

/// Of a row of `nodes`: it is active and its last check found it ready.
pub(crate) fn node_is_ready(connection: &AnyConnection) -> String {
    let is_ready = was_found_ready(connection);
    format!("(nodes.status = 'active' AND {is_ready} IS TRUE)")
}

/// Of a row of `nodes`: its last check found it ready; `NULL` where nothing was looked at yet.
fn was_found_ready(connection: &AnyConnection) -> &'static str {
    match connection {
        AnyConnection::Sqlite(_) => "json_extract(nodes.readiness, '$.is_ready')",
        AnyConnection::Postgres(_) => "(nodes.readiness::json ->> 'is_ready')::boolean",
    }
}

/// Of a row of `sites`: it is old enough to be backed up, and its production environment is active and has no recent backup
/// of all that it consists of. A checkpoint saves nothing: it holds what a restore replaced.
pub(crate) fn site_is_unsaved(cut: BackupCut) -> String {
    let recent = |scope: &str| {
        format!(
            "EXISTS (SELECT 1 FROM backups AS saved WHERE saved.environment_id = sites.primary_environment_id
                AND saved.status = 'completed' AND saved.completed_at >= {since}
                AND saved.\"trigger\" <> 'checkpoint' AND saved.scope IN ('full', '{scope}'))",
            since = cut.backed_up_since.as_micros()
        )
    };
    format!(
        "(sites.created_at <= {made_before}
            AND EXISTS (SELECT 1 FROM environments AS production
                WHERE production.id = sites.primary_environment_id AND production.status = 'active')
            AND NOT ({database} AND {files}))",
        made_before = cut.made_before.as_micros(),
        database = recent("db"),
        files = recent("files")
    )
}
