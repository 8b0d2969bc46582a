//! What a site is asked with: the form of a new one, and what its dialogs ask.

use serde::Serialize;
use sites_domain::{BackupScope, EnvironmentType, PromotionPreset};
use uuid::Uuid;

use super::backup::{BackupRow, scope_words};
use super::create::{Field, FieldErrors};
use super::environment::{preset_words, type_words};

/// A field with a few values to choose from.
#[derive(Serialize)]
pub(crate) struct Choice {
    field: Field,
    options: Vec<Opt>,
}

#[derive(Serialize)]
struct Opt {
    value: String,
    words: String,
    is_chosen: bool,
}

impl Choice {
    /// Values with their words, in order; `field` has the one that is chosen, the first one where it is none of them.
    fn new<V: Into<String>, W: Into<String>>(
        options: impl IntoIterator<Item = (V, W)>,
        name: &str,
        chosen: &str,
        errors: &FieldErrors,
    ) -> Self {
        let options = options.into_iter().map(|(value, words)| {
            let value = value.into();
            Opt {
                is_chosen: value == chosen,
                words: words.into(),
                value,
            }
        });
        Self {
            field: errors.field(name, chosen),
            options: options.collect(),
        }
    }

    fn scopes(chosen: &str, errors: &FieldErrors) -> Self {
        let scopes = [BackupScope::Full, BackupScope::Db, BackupScope::Files];
        let scopes = scopes.map(|scope| (scope.as_str(), scope_words(scope)));
        Self::new(scopes, "backup_scope", chosen, errors)
    }
}

/// A key of its own for each form that is shown, so that one that is sent twice asks once.
fn form_key() -> String {
    Uuid::now_v7().to_string()
}

/// The form of a new site.
#[derive(Serialize)]
pub(crate) struct CreateSiteView {
    form_key: String,
    name: Field,
    slug: Field,
    node: Choice,
    admin_email: Field,
}

/// What was typed into it.
pub(crate) struct TypedSite<'a> {
    pub(crate) name: &'a str,
    pub(crate) slug: &'a str,
    pub(crate) node_id: &'a str,
    pub(crate) admin_email: &'a str,
}

impl CreateSiteView {
    /// The form with what was typed; `nodes` are the ready ones, ids with names.
    pub(crate) fn new(typed: &TypedSite<'_>, errors: &FieldErrors, nodes: Vec<(String, String)>) -> Self {
        let any = (String::new(), "The ready node with the fewest environments".to_owned());
        Self {
            form_key: form_key(),
            name: errors.field("name", typed.name),
            slug: errors.field("slug", typed.slug),
            node: Choice::new(std::iter::once(any).chain(nodes), "node_id", typed.node_id, errors),
            admin_email: errors.field("admin_email", typed.admin_email),
        }
    }
}

/// What a dialog asks. Each names in `kind` what its form posts.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Asked {
    /// For an environment as a copy of another.
    Environment {
        form_key: String,
        name: Field,
        slug: Field,
        types: Choice,
        presets: Choice,
    },
    /// For a backup.
    Backup {
        form_key: String,
        scopes: Choice,
        retention_days: Field,
    },
    /// When backups are taken by themselves.
    Schedule {
        is_set: bool,
        every_hours: Field,
        scopes: Choice,
        keep_days: Field,
    },
    /// Whether a backup is to replace what is there.
    Restore { backup: BackupRow },
    /// Whether a backup is given up.
    DeleteBackup { backup: BackupRow },
    /// Whether an environment is removed, by its slug.
    DeleteEnvironment {
        is_lost: bool,
        is_resting: bool,
        typed: TypedDeletion,
    },
    /// Whether the site is removed, by its slug.
    Delete {
        is_lost: bool,
        is_resting: bool,
        environments: Vec<String>,
        typed: TypedDeletion,
    },
    /// Whether the WordPress login is shown, and the login where it was asked for.
    Login { login: Option<LoginShown> },
}

/// What was typed and ticked to confirm a deletion.
#[derive(Default, Serialize)]
pub(crate) struct TypedDeletion {
    pub(crate) confirm: String,
    pub(crate) abandon: bool,
}

/// A WordPress login, shown once.
#[derive(Serialize)]
pub(crate) struct LoginShown {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Asked {
    /// The form of a copy.
    pub(crate) fn environment(name: &str, slug: &str, kind: &str, preset: &str, errors: &FieldErrors) -> Self {
        let types = [EnvironmentType::Staging, EnvironmentType::Clone];
        let presets = [PromotionPreset::ContentProtect, PromotionPreset::CommerceProtect];
        let presets = presets.map(|preset| (preset.as_str(), preset_words(preset)));
        let presets = std::iter::once(("", "Nothing")).chain(presets);
        let types = types.map(|kind| (kind.as_str(), type_words(kind)));
        Self::Environment {
            form_key: form_key(),
            name: errors.field("name", name),
            slug: errors.field("slug", slug),
            types: Choice::new(types, "type", kind, errors),
            presets: Choice::new(presets, "promotion_preset", preset, errors),
        }
    }

    /// The form of a backup.
    pub(crate) fn backup(scope: &str, retention_days: &str, errors: &FieldErrors) -> Self {
        Self::Backup {
            form_key: form_key(),
            scopes: Choice::scopes(scope, errors),
            retention_days: errors.field("retention_days", retention_days),
        }
    }

    /// The form of a schedule.
    pub(crate) fn schedule(
        is_set: bool,
        every_hours: &str,
        scope: &str,
        keep_days: &str,
        errors: &FieldErrors,
    ) -> Self {
        Self::Schedule {
            is_set,
            every_hours: errors.field("every_hours", every_hours),
            scopes: Choice::scopes(scope, errors),
            keep_days: errors.field("keep_days", keep_days),
        }
    }
}
