//! The filter of a list: what an address says of it, and at which address it is.

use std::fmt::Display;
use std::str::FromStr;

use http_session::ApiError;
use jobs::SearchText;

use crate::form::encoded;

/// A list that can be filtered.
pub(crate) struct List {
    /// Where all of it is.
    pub(crate) path: &'static str,
    /// What is in it, as in `nodes`.
    pub(crate) things: &'static str,
}

impl List {
    /// What was chosen. An empty field is no choice.
    pub(crate) fn chosen<T: FromStr>(&self, value: Option<&str>, what: &str) -> Result<Option<T>, ApiError> {
        match value.map(str::trim) {
            None | Some("") => Ok(None),
            Some(value) => {
                let refused = |_| self.refused(&format!("There is no such {what}."));
                value.parse().map(Some).map_err(refused)
            }
        }
    }

    /// What is looked for. An empty field is nothing.
    pub(crate) fn search(&self, value: Option<&str>) -> Result<Option<SearchText>, ApiError> {
        match value.map(str::trim) {
            None | Some("") => Ok(None),
            Some(value) => {
                let refused = |error| self.refused(&format!("That cannot be looked for: {error}."));
                value.parse().map(Some).map_err(refused)
            }
        }
    }

    /// Whether something was chosen that is `true` or nothing.
    pub(crate) fn flag(&self, value: Option<&str>, what: &str) -> Result<bool, ApiError> {
        Ok(self.chosen::<bool>(value, what)?.unwrap_or(false))
    }

    /// The answer to a filter that cannot be read at all.
    pub(crate) fn unreadable(&self) -> ApiError {
        self.refused("The filter could not be read.")
    }

    /// Where the newest things of a filter are listed that has these values.
    pub(crate) fn address(&self, fields: &[(&str, Option<String>)]) -> String {
        let fields = fields
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
        match fields.collect::<Vec<_>>() {
            fields if fields.is_empty() => self.path.to_owned(),
            fields => format!("{}?{}", self.path, fields.join("&")),
        }
    }

    fn refused(&self, why: &str) -> ApiError {
        let Self { path, things } = self;
        ApiError::bad_request(format!("{why} Go to all {things} at {path} and choose again."))
    }
}

/// What goes on with an address that may have fields already.
pub(crate) fn and(address: &str) -> &'static str {
    if address.contains('?') { "&" } else { "?" }
}

/// The page of a list after an item; the first page without one.
pub(crate) fn page_after(address: &str, cursor: Option<impl Display>) -> String {
    match cursor {
        Some(cursor) => format!("{address}{}cursor={cursor}", and(address)),
        None => address.to_owned(),
    }
}
