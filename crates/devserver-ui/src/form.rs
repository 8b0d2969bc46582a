//! What forms send, and where they lead.

use actix_web::http::header::LOCATION;
use actix_web::{Error, HttpResponse, web};
use http_session::ApiError;
use serde::de::DeserializeOwned;

/// Longer paths are none of ours.
const MAX_PATH: usize = 1000;

/// A form as it came; reading it never refuses a request by itself.
pub(crate) type Sent<T> = Result<web::Form<T>, Error>;

/// The fields of a form.
pub(crate) fn fields<T: DeserializeOwned>(sent: Sent<T>) -> Result<T, ApiError> {
    match sent {
        Ok(form) => Ok(form.into_inner()),
        Err(_) => Err(ApiError::bad_request(
            "The form could not be read. Load the page again, then repeat it.",
        )),
    }
}

/// Leads the browser to a page of ours with a `GET`, so that a reload repeats nothing.
pub(crate) fn see(place: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, place)).finish()
}

/// The path if it is one of this server's, to go to after a login. Browsers take `//` and backslashes for the begin of
/// another server's address, and drop control characters before they look.
pub(crate) fn local_path(text: &str) -> Option<&str> {
    let is_local = text.starts_with('/')
        && !text.contains("//")
        && text.len() <= MAX_PATH
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    is_local.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_gone_to() {
        for text in ["/", "/nodes", "/nodes?cursor=a&b=%20"] {
            assert_eq!(local_path(text), Some(text));
        }
        for text in [
            "",
            "nodes",
            "//evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "/\t/evil.test",
            "/nodes//x",
            "https://evil.test/",
            "javascript:alert(1)",
            " /nodes",
            "/nodes\r\nSet-Cookie: a=b",
            "/ä",
        ] {
            assert_eq!(local_path(text), None, "{text:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(MAX_PATH))), None);
    }
}
