//! Typed ids: UUIDv7 underneath, so they sort by creation; never interchangeable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected a hyphenated UUID")]
pub struct IdError;

/// The last 12 hexadecimal digits of an id. The first digits of a UUIDv7 are its time and are equal for ids of one
/// minute; these are random. Machines, users, databases and preview hosts are named by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortId(String);

impl ShortId {
    /// The 12 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ShortId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 12 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError)
        }
    }
}

impl TryFrom<String> for ShortId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ShortId> for String {
    fn from(id: ShortId) -> Self {
        id.0
    }
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later in order than every id made before it on this host.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id's short form, used for names.
            pub fn short(&self) -> ShortId {
                let simple = self.0.simple().to_string();
                ShortId(simple[20..].to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != 36 {
                    return Err(IdError);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| IdError)
            }
        }
    };
}

typed_id!(
    /// A node: a machine that sites live on.
    NodeId
);
typed_id!(
    /// A job of the queue.
    JobId
);
typed_id!(
    /// A site.
    SiteId
);
typed_id!(
    /// An environment of a site.
    EnvironmentId
);
typed_id!(
    /// A backup of an environment.
    BackupId
);
typed_id!(
    /// An operator's account.
    AccountId
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_thousand_ids_of_one_second_have_a_thousand_short_ids() {
        let shorts: HashSet<_> = (0..1000).map(|_| NodeId::generate().short()).collect();
        assert_eq!(shorts.len(), 1000);
    }

    #[test]
    fn an_id_survives_text_and_json() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<JobId>(&json).unwrap(), id);
        assert!(id.to_string().replace('-', "").ends_with(id.short().as_str()));
    }

    #[test]
    fn other_text_is_no_id() {
        for text in ["", "x", "0190", "019012345678901234567890123456789012"] {
            assert_eq!(text.parse::<NodeId>(), Err(IdError), "{text:?}");
        }
        for text in ["", "0123456789ab0", "0123456789AB", "../etc/passw"] {
            assert_eq!(text.parse::<ShortId>(), Err(IdError), "{text:?}");
        }
    }
}
