//! Pages of a list: the query's `limit` and `cursor`, and the body's `items` and `next_cursor`.

use std::fmt::Display;
use std::str::FromStr;

use http_session::ApiError;
use jobs::{Page, PageRequest};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// Reads `limit`.
pub(crate) fn limit(limit: Option<u32>) -> Result<u32, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::bad_request(format!("`limit` is from 1 to {MAX_LIMIT}.")))
    }
}

/// A kind of list. A cursor holds its mark, so that it cannot be used for another list.
pub(crate) trait Listed {
    /// The mark.
    const MARK: &'static str;
    /// What its items are known by.
    type Id: FromStr + Display;
}

/// Reads `limit` and `cursor` of a list of `L`.
pub(crate) fn page_request<L: Listed>(asked: Option<u32>, cursor: Option<&str>) -> Result<PageRequest, ApiError> {
    let after = match cursor {
        None => None,
        Some(cursor) => {
            let id = cursor.strip_prefix(L::MARK).and_then(|text| text.parse::<L::Id>().ok());
            let refused = || ApiError::bad_request("`cursor` is not one that this list gave.");
            Some(id.ok_or_else(refused)?.to_string())
        }
    };
    Ok(PageRequest {
        limit: limit(asked)?,
        after,
    })
}

/// The cursor of the page after this one.
pub(crate) fn next_cursor<L: Listed, T>(page: &Page<T>) -> Option<String> {
    page.next.as_ref().map(|id| format!("{}{id}", L::MARK))
}
