//! The forms that ask for nodes: what was typed, what was wrong with it, and what is shown beside.

use domain_kernel::JobErrorCode;
use nodes_domain::{AcquisitionSource, ManagedKey};
use operations::UseCaseError;
use serde::Serialize;
use uuid::Uuid;

use super::text::{Piece, prose, sentence};

/// A field of a form.
#[derive(Default, Serialize)]
pub(crate) struct Field {
    value: String,
    error: Option<Vec<Piece>>,
    /// Whether one begins here: the first field that something is wrong with.
    has_focus: bool,
}

/// What was wrong with fields, in their order.
#[derive(Default)]
pub(crate) struct FieldErrors(Vec<(&'static str, String)>);

impl FieldErrors {
    /// The value, unless something was wrong with its field.
    pub(crate) fn take<T>(&mut self, field: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.0.push((field, error))).ok()
    }

    /// A field with what was typed into it.
    pub(crate) fn field(&self, name: &str, typed: &str) -> Field {
        let error = self.0.iter().find(|(field, _)| *field == name);
        Field {
            value: typed.to_owned(),
            error: error.map(|(_, error)| prose(&sentence(error))),
            has_focus: self.0.first().is_some_and(|(field, _)| *field == name),
        }
    }
}

/// Both forms.
#[derive(Serialize)]
pub(crate) struct CreateView {
    form_key: String,
    /// The source whose form was sent and is shown again: it stays as it is while the page goes on.
    sent: Option<AcquisitionSource>,
    local: LocalFields,
    remote: RemoteFields,
}

/// The form of a local node.
#[derive(Default, Serialize)]
pub(crate) struct LocalFields {
    pub(crate) name: Field,
}

/// The form of a remote node.
#[derive(Serialize)]
pub(crate) struct RemoteFields {
    pub(crate) name: Field,
    pub(crate) hostname: Field,
    pub(crate) ssh_user: Field,
    pub(crate) ssh_port: Field,
    pub(crate) public_ip: Field,
    pub(crate) host_key_fingerprint: Field,
}

impl Default for RemoteFields {
    fn default() -> Self {
        Self {
            name: Field::default(),
            hostname: Field::default(),
            ssh_user: Field::default(),
            ssh_port: FieldErrors::default().field("ssh_port", "22"),
            public_ip: Field::default(),
            host_key_fingerprint: Field::default(),
        }
    }
}

impl CreateView {
    /// Forms that nothing was typed into.
    pub(crate) fn empty() -> Self {
        Self::new(None, LocalFields::default(), RemoteFields::default())
    }

    /// The form of a local node as it was sent.
    pub(crate) fn local(local: LocalFields) -> Self {
        Self::new(Some(AcquisitionSource::Local), local, RemoteFields::default())
    }

    /// The form of a remote node as it was sent.
    pub(crate) fn remote(remote: RemoteFields) -> Self {
        Self::new(Some(AcquisitionSource::Remote), LocalFields::default(), remote)
    }

    fn new(sent: Option<AcquisitionSource>, local: LocalFields, remote: RemoteFields) -> Self {
        Self {
            form_key: Uuid::now_v7().to_string(),
            sent,
            local,
            remote,
        }
    }
}

/// Pressluft's public key and the line that installs it, or why there is none.
#[derive(Serialize)]
pub(crate) struct KeyView {
    public_key: String,
    fingerprint: String,
    command: String,
    failure: Option<KeyFailure>,
}

#[derive(Serialize)]
struct KeyFailure {
    code: &'static str,
    summary: &'static str,
    remedy: Vec<Piece>,
}

impl KeyView {
    /// The key, or the one way in which it cannot be had; what caused that is for the log.
    pub(crate) fn new(key: Result<ManagedKey, UseCaseError>) -> Self {
        match key {
            Ok(key) => Self {
                command: key.install_command(),
                public_key: key.public_key,
                fingerprint: key.fingerprint,
                failure: None,
            },
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "Pressluft's key cannot be shown"
                );
                let code = JobErrorCode::SshKeyGenerationFailed;
                Self {
                    command: String::new(),
                    public_key: String::new(),
                    fingerprint: String::new(),
                    failure: Some(KeyFailure {
                        code: code.as_str(),
                        summary: code.summary(),
                        remedy: prose(code.remedy()),
                    }),
                }
            }
        }
    }
}
