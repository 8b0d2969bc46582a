//! What forms send, and where they lead.

use actix_web::http::header::LOCATION;
use actix_web::{Error, HttpResponse, web};
use http_session::{ApiError, Operator};
use nodes_domain::Idempotency;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longer paths are none of ours. The longest search there may be has 100 characters of up to 12 letters each.
const MAX_PATH: usize = 2000;

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

/// Makes the same form, sent twice, one request. `texts` are what it asks for and every field; with anything else in one of
/// them it is another request.
pub(crate) fn idempotency<'a>(
    operator: &Operator,
    form_key: &str,
    texts: impl IntoIterator<Item = &'a str>,
) -> Option<Idempotency> {
    let form_key: Uuid = form_key.parse().ok()?;
    let mut hash = Sha256::new();
    for text in texts {
        // With their lengths, so that no two run into each other.
        hash.update(format!("{}:{text}", text.len()));
    }
    let request_hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Idempotency {
        account_id: operator.session.account_id,
        key: format!("{form_key}.{request_hash}"),
        request_hash,
    })
}

/// The slug for a name that none was typed for: its plain letters and digits, with hyphens for the rest. `app.js` writes
/// it while the name is typed.
pub(crate) fn slug_of(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    let slug: String = words.join("-").to_ascii_lowercase().chars().take(63).collect();
    slug.trim_end_matches('-').to_owned()
}

/// Leads the browser to a page of ours with a `GET`, so that a reload repeats nothing.
pub(crate) fn see(place: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, place)).finish()
}

/// A text as a part of an address.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
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
    fn a_slug_is_made_of_what_a_name_has_of_plain_letters() {
        for (name, slug) in [
            ("Corner shop", "corner-shop"),
            ("  A & B's -- Shop! ", "a-b-s-shop"),
            ("Döner", "d-ner"),
            ("日本", ""),
        ] {
            assert_eq!(slug_of(name), slug);
        }
        assert_eq!(slug_of(&format!("{} b", "a".repeat(62))), "a".repeat(62));
    }

    #[test]
    fn only_paths_of_this_server_are_gone_to() {
        let longest_search = format!("/sites?q={}", encoded(&"😀".repeat(100)));
        for text in ["/", "/nodes", "/nodes?cursor=a&b=%20", &longest_search] {
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
