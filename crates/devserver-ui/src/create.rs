//! `POST /nodes`: asks for a node. The source decides which fields there are; neither source ever stands in for the other.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use http_session::{ApiError, Operator};
use nodes_domain::{AcquisitionSource, Idempotency, RemoteHost};
use operations::{CreateLocalNode, CreateRemoteNode, UseCaseError};
use serde::Deserialize;

use crate::UiState;
use crate::form::{Sent, fields, idempotency, see};
use crate::nodes::{LIST, by, refused_with, show};
use crate::view::create::{CreateView, FieldErrors, LocalFields, RemoteFields};
use crate::view::text::sentence;

/// The fields of both forms.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CreateForm {
    acquisition_source: String,
    /// Made with the form, so that a form that is sent twice makes one node.
    form_key: String,
    name: String,
    hostname: String,
    ssh_user: String,
    ssh_port: String,
    public_ip: String,
    host_key_fingerprint: String,
}

impl CreateForm {
    /// The fields that only a remote node has.
    fn of_remote(&self) -> [(&'static str, &str); 5] {
        [
            ("hostname", &self.hostname),
            ("ssh_user", &self.ssh_user),
            ("ssh_port", &self.ssh_port),
            ("public_ip", &self.public_ip),
            ("host_key_fingerprint", &self.host_key_fingerprint),
        ]
    }

    /// Which source it asks for; a form with fields of another one is none.
    fn source(&self) -> Result<AcquisitionSource, UseCaseError> {
        let source = self.acquisition_source.parse();
        let source = source.map_err(|error| UseCaseError::Invalid(format!("`acquisition_source`: {error}.")))?;
        let foreign = self.of_remote().into_iter().find(|(_, typed)| !typed.is_empty());
        match (source, foreign) {
            (AcquisitionSource::Local, Some((field, _))) => Err(UseCaseError::Invalid(format!(
                "`{field}`: a local node has no such field."
            ))),
            (AcquisitionSource::Local, None) | (AcquisitionSource::Remote, _) => Ok(source),
        }
    }

    fn read_local(&self, errors: &mut FieldErrors) -> Option<CreateLocalNode> {
        let name = errors.take("name", optional(&self.name, read))?;
        Some(CreateLocalNode { name })
    }

    /// Reads every field before any is missed, in the order of the form.
    fn read_remote(&self, errors: &mut FieldErrors) -> Option<CreateRemoteNode> {
        let hostname = errors.take("hostname", read(self.hostname.trim()));
        let ssh_port = errors.take("ssh_port", optional(&self.ssh_port, port));
        let ssh_user = errors.take("ssh_user", read(self.ssh_user.trim()));
        let name = errors.take("name", optional(&self.name, read));
        let public_ip = errors.take("public_ip", optional(&self.public_ip, address));
        let fingerprint = optional(&self.host_key_fingerprint, read);
        let host_key_fingerprint = errors.take("host_key_fingerprint", fingerprint);
        Some(CreateRemoteNode {
            name: name?,
            host: RemoteHost {
                hostname: hostname?,
                ssh_port: ssh_port?.unwrap_or(22),
                ssh_user: ssh_user?,
                public_ip: public_ip?,
                host_key_fingerprint: host_key_fingerprint?,
            },
        })
    }

    /// The forms with what was typed into the one of this source.
    fn view(&self, source: AcquisitionSource, errors: &FieldErrors) -> CreateView {
        let name = errors.field("name", &self.name);
        match source {
            AcquisitionSource::Local => CreateView::local(LocalFields { name }),
            AcquisitionSource::Remote => CreateView::remote(RemoteFields {
                name,
                hostname: errors.field("hostname", &self.hostname),
                ssh_user: errors.field("ssh_user", &self.ssh_user),
                ssh_port: errors.field("ssh_port", &self.ssh_port),
                public_ip: errors.field("public_ip", &self.public_ip),
                host_key_fingerprint: errors.field("host_key_fingerprint", &self.host_key_fingerprint),
            }),
        }
    }

    fn idempotency(&self, operator: &Operator) -> Option<Idempotency> {
        let typed = self.of_remote().map(|(_, typed)| typed);
        let texts = ["POST /nodes", &self.acquisition_source, &self.name];
        idempotency(operator, &self.form_key, texts.into_iter().chain(typed))
    }
}

/// A field that may be left empty.
pub(crate) fn optional<T>(typed: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    match typed.trim() {
        "" => Ok(None),
        typed => read(typed).map(Some),
    }
}

/// A field whose form its own type knows.
pub(crate) fn read<T: FromStr<Err: Display>>(typed: &str) -> Result<T, String> {
    typed.parse().map_err(|error: T::Err| error.to_string())
}

fn port(typed: &str) -> Result<u16, String> {
    let port = typed.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "expected a number from 1 to 65535".to_owned())
}

fn address(typed: &str) -> Result<IpAddr, String> {
    typed.parse().map_err(|_| "expected an IPv4 or IPv6 address".to_owned())
}

/// `POST /nodes`
pub(crate) async fn create(
    ui: web::Data<UiState>,
    operator: Operator,
    sent: Sent<CreateForm>,
) -> Result<HttpResponse, ApiError> {
    let form = fields(sent)?;
    let source = match form.source() {
        Ok(source) => source,
        Err(error) => return refused_with(&ui, &operator, error, CreateView::empty()).await,
    };
    let (key, by) = (form.idempotency(&operator), by(&operator));
    let mut errors = FieldErrors::default();
    if let Some(missing) = ui.providers.obstacle(source).await {
        let (reason, remedy) = (sentence(&missing.reason), sentence(&missing.remedy));
        let error = UseCaseError::Conflict(format!("Not possible on this host now. {reason} Next: {remedy}"));
        return refused_with(&ui, &operator, error, form.view(source, &errors)).await;
    }
    let created = match source {
        AcquisitionSource::Local => match form.read_local(&mut errors) {
            Some(request) => Some(ui.nodes.create_local(request, key, by).await),
            None => None,
        },
        AcquisitionSource::Remote => match form.read_remote(&mut errors) {
            Some(request) => Some(ui.nodes.create_remote(request, key, by).await),
            None => None,
        },
    };
    let forms = form.view(source, &errors);
    match created {
        Some(Ok(_)) => Ok(see(LIST)),
        Some(Err(error)) => refused_with(&ui, &operator, error, forms).await,
        // With each error at its field.
        None => show(&ui, &operator, StatusCode::BAD_REQUEST, forms, None).await,
    }
}
