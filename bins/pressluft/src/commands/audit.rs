//! The audit log as `pressluft admin audit` prints it.

use accounts_domain::{AuditEntry, Email};
use serde_json::{Value, json};

const HEADINGS: [&str; 6] = ["TIME", "ACTION", "ACCOUNT", "SUBJECT", "FROM", "DETAIL"];

/// For programs: every field, null where there is nothing.
pub(crate) fn as_json(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id,
        "at": entry.at,
        "action": entry.action.as_str(),
        "account_id": entry.account_id,
        "email": entry.email.as_ref().map(Email::as_str),
        "subject": entry.subject.as_ref().map(|subject| json!({
            "kind": subject.kind.as_str(),
            "id": subject.id,
            "email": subject.email.as_ref().map(Email::as_str),
        })),
        "client_address": entry.client_address,
        "detail": entry.detail,
    })
}

/// For people: a table, or a sentence where there is nothing.
pub(crate) fn as_text(entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "The audit log is empty: nobody has done anything yet.\n".to_owned();
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(entries.iter().map(row));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(entry: &AuditEntry) -> [String; 6] {
    let account = match (&entry.email, entry.account_id) {
        (Some(email), _) => Some(email.to_string()),
        (None, id) => id.map(|id| id.to_string()),
    };
    let subject = entry.subject.as_ref().map(|subject| {
        let name = subject.email.as_ref().map_or(subject.id.as_str(), Email::as_str);
        format!("{} {name}", subject.kind)
    });
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        entry.at.to_string(),
        entry.action.to_string(),
        or_dash(account),
        or_dash(subject),
        or_dash(entry.client_address.clone()),
        entry.detail.as_ref().map_or_else(String::new, fields),
    ]
}

/// `{"kind": "node_provision", "sessions_ended": 1}` as `kind=node_provision sessions_ended=1`.
fn fields(detail: &Value) -> String {
    let Some(object) = detail.as_object() else {
        return detail.to_string();
    };
    let fields = object.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}={value}"),
    });
    fields.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use accounts_domain::{AuditAction, AuditSubject, AuditSubjectKind};
    use domain_kernel::Timestamp;

    use super::*;

    fn entry(action: AuditAction) -> AuditEntry {
        AuditEntry {
            id: 1,
            at: Timestamp::from_micros(0),
            account_id: None,
            email: None,
            action,
            subject: None,
            client_address: None,
            detail: None,
        }
    }

    #[test]
    fn the_table_names_people_and_leaves_no_cell_empty_that_others_follow() {
        let asked = AuditEntry {
            email: Some("ops@example.test".parse().unwrap()),
            subject: Some(AuditSubject {
                kind: AuditSubjectKind::Job,
                id: "0197".to_owned(),
                email: None,
            }),
            detail: Some(json!({"kind": "node_provision"})),
            ..entry(AuditAction::JobRequested)
        };
        let refused = AuditEntry {
            client_address: Some("192.0.2.1".to_owned()),
            ..entry(AuditAction::LoginRefused)
        };
        assert_eq!(
            as_text(&[asked, refused]),
            "TIME                  ACTION         ACCOUNT           SUBJECT   FROM       DETAIL\n\
             1970-01-01T00:00:00Z  job.requested  ops@example.test  job 0197  -          kind=node_provision\n\
             1970-01-01T00:00:00Z  login.refused  -                 -         192.0.2.1\n"
        );
    }

    #[test]
    fn an_empty_log_is_a_sentence() {
        assert!(as_text(&[]).ends_with("nobody has done anything yet.\n"));
    }
}
