//! Secrets at rest by XChaCha20-Poly1305.

use std::fmt;
use std::path::Path;

use accounts_domain::{SealedSecret, SecretBox, SecretBoxError};
use base64ct::{Base64, Encoding};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use domain_kernel::Secret;
use zeroize::Zeroizing;

use crate::key_file::{self, Key, KeyFileError, KeyId};
use crate::random_bytes;

/// The form of a sealed text.
const FORM: &str = "pl1";

/// Bytes in a nonce.
const NONCE: usize = 24;

/// Seals by XChaCha20-Poly1305 with the newest key of a key file, and opens with the key that a sealed text names.
///
/// XChaCha20 instead of ChaCha20 because its nonce has 24 bytes: at random, without a counter to keep anywhere, none comes
/// twice. The sealed text is `pl1.<key id>.<base64 of nonce, ciphertext and tag>`; the row is the associated data. It does
/// not hide how long a secret is.
///
/// The key file has a line for each key, `<key id> <key>`, the newest last: 8 hexadecimal digits, and 32 bytes in
/// base64. A line added at its end makes a new key that seals from the next start on; the others still open.
pub struct XChaChaBox {
    /// Oldest first, never empty; the last one seals. A cipher wipes its key when it is dropped.
    keys: Vec<(KeyId, XChaCha20Poly1305)>,
}

impl XChaChaBox {
    /// The box of a key file. A missing file is made with one random key, whole or not at all, and its folder with it; of
    /// several processes that make it at once, one wins and all use its key. A file that is there is never written to.
    pub fn open_or_make(path: &Path) -> Result<Self, KeyFileError> {
        if let Some(there) = Self::open_existing(path)? {
            return Ok(there);
        }
        key_file::make(path)?;
        Self::open_existing(path)?.ok_or_else(|| KeyFileError::System {
            path: path.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// The box of a key file, `None` where there is no file.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, KeyFileError> {
        let keys = key_file::read(path)?;
        Ok(keys.map(|keys| Self {
            keys: keys.into_iter().map(cipher).collect(),
        }))
    }
}

fn cipher(key: Key) -> (KeyId, XChaCha20Poly1305) {
    (key.id, XChaCha20Poly1305::new(key.bytes.as_slice().into()))
}

impl fmt::Debug for XChaChaBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|(id, _)| id);
        f.debug_list().entries(ids).finish()
    }
}

impl SecretBox for XChaChaBox {
    fn seal(&self, secret: &Secret, row: &str) -> Result<SealedSecret, SecretBoxError> {
        let none = || SecretBoxError::Unsealable("there is no key".to_owned());
        let (id, cipher) = self.keys.last().ok_or_else(none)?;
        let nonce = random_bytes::<NONCE>().map_err(|error| SecretBoxError::Unsealable(error.0))?;
        let payload = Payload {
            msg: secret.expose().as_bytes(),
            aad: row.as_bytes(),
        };
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| SecretBoxError::Unsealable("it is too long".to_owned()))?;
        let whole = Base64::encode_string(&[nonce.as_slice(), &sealed].concat());
        Ok(SealedSecret::from_stored(format!("{FORM}.{id}.{whole}")))
    }

    fn open(&self, sealed: &SealedSecret, row: &str) -> Result<Secret, SecretBoxError> {
        let (id, whole) = parts(sealed.as_str()).ok_or(SecretBoxError::Malformed)?;
        let known = self.keys.iter().find(|(known, _)| *known == id);
        let (_, cipher) = known.ok_or_else(|| SecretBoxError::UnknownKey { key: id.to_string() })?;
        let (nonce, msg) = whole.split_at_checked(NONCE).ok_or(SecretBoxError::Malformed)?;
        let payload = Payload {
            msg,
            aad: row.as_bytes(),
        };
        let opened = cipher.decrypt(XNonce::from_slice(nonce), payload);
        let opened = Zeroizing::new(opened.map_err(|_| SecretBoxError::NotAuthentic)?);
        // Only texts are ever sealed.
        let text = str::from_utf8(&opened).map_err(|_| SecretBoxError::Malformed)?;
        Ok(Secret::new(text))
    }
}

/// The key id, and nonce, ciphertext and tag.
fn parts(text: &str) -> Option<(KeyId, Vec<u8>)> {
    let (id, whole) = text.strip_prefix(FORM)?.strip_prefix('.')?.split_once('.')?;
    Some((KeyId::parse(id)?, Base64::decode_vec(whole).ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ROW: &str = "sites/018f/database_password";

    fn new_box() -> XChaChaBox {
        let folder = tempfile::tempdir().unwrap();
        XChaChaBox::open_or_make(&folder.path().join("keys/secrets")).unwrap()
    }

    fn with_flipped(sealed: &SealedSecret, at: usize) -> SealedSecret {
        let (head, whole) = sealed.as_str().rsplit_once('.').unwrap();
        let mut bytes = Base64::decode_vec(whole).unwrap();
        bytes[at] ^= 1;
        SealedSecret::from_stored(format!("{head}.{}", Base64::encode_string(&bytes)))
    }

    #[test]
    fn a_sealed_secret_opens_with_its_row_and_no_other() {
        let secrets = new_box();
        for text in ["", "hunter2", "пароль \n\0", &"x".repeat(100_000)] {
            let sealed = secrets.seal(&Secret::new(text), ROW).unwrap();
            assert_eq!(secrets.open(&sealed, ROW).unwrap().expose(), text);
            for other in ["", "sites/018e/database_password", "sites/018f/database_password "] {
                assert_eq!(secrets.open(&sealed, other), Err(SecretBoxError::NotAuthentic));
            }
        }
    }

    #[test]
    fn a_sealed_text_has_its_form_hides_the_secret_and_never_comes_twice() {
        let secrets = new_box();
        let secret = Secret::new("hunter2");
        let (one, other) = (secrets.seal(&secret, ROW).unwrap(), secrets.seal(&secret, ROW).unwrap());
        assert_ne!(one, other);
        let (id, whole) = parts(one.as_str()).unwrap();
        assert!(one.as_str().starts_with(&format!("pl1.{id}.")), "{one:?}");
        assert_eq!(whole.len(), NONCE + "hunter2".len() + 16);
        assert!(!whole.windows(7).any(|window| window == b"hunter2"));
    }

    #[test]
    fn a_changed_byte_anywhere_is_refused() {
        let secrets = new_box();
        let sealed = secrets.seal(&Secret::new("hunter2"), ROW).unwrap();
        for at in 0..NONCE + "hunter2".len() + 16 {
            let error = secrets.open(&with_flipped(&sealed, at), ROW).unwrap_err();
            assert_eq!(error, SecretBoxError::NotAuthentic, "byte {at}");
        }
    }

    #[test]
    fn a_text_that_is_no_sealed_secret_is_malformed() {
        let secrets = new_box();
        let sealed = secrets.seal(&Secret::new("hunter2"), ROW).unwrap();
        let id = parts(sealed.as_str()).unwrap().0;
        let texts = [
            String::new(),
            "hunter2".to_owned(),
            sealed.as_str().replacen("pl1.", "pl2.", 1),
            format!("pl1.{id}"),
            format!("pl1.{id}."),
            format!("pl1.{id}.AAAA"),
            format!("pl1.{id}.not base64"),
            format!("{}=", sealed.as_str()),
        ];
        for text in texts {
            let opened = secrets.open(&SealedSecret::from_stored(&text), ROW);
            assert_eq!(opened, Err(SecretBoxError::Malformed), "{text}");
        }
    }

    #[test]
    fn with_a_newer_key_old_secrets_still_open_and_new_ones_need_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/secrets");
        let before = XChaChaBox::open_or_make(&path).unwrap();
        let old = before.seal(&Secret::new("old"), ROW).unwrap();

        let mut lines = fs::read_to_string(&path).unwrap();
        lines.push_str(&format!("0badc0de {}\n", Base64::encode_string(&[7; 32])));
        fs::write(&path, lines).unwrap();
        let after = XChaChaBox::open_or_make(&path).unwrap();
        let new = after.seal(&Secret::new("new"), ROW).unwrap();

        assert_eq!(after.open(&old, ROW).unwrap().expose(), "old");
        assert_eq!(after.open(&new, ROW).unwrap().expose(), "new");
        assert!(new.as_str().starts_with("pl1.0badc0de."));
        let error = before.open(&new, ROW).unwrap_err();
        assert!(error.to_string().contains("0badc0de"), "{error}");
    }

    #[test]
    fn another_installations_secret_names_the_missing_key() {
        let (ours, theirs) = (new_box(), new_box());
        let sealed = theirs.seal(&Secret::new("hunter2"), ROW).unwrap();
        let key = parts(sealed.as_str()).unwrap().0.to_string();
        assert_eq!(ours.open(&sealed, ROW), Err(SecretBoxError::UnknownKey { key }));
    }

    #[test]
    fn what_is_printed_of_a_box_names_its_keys_and_holds_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/secrets");
        let secrets = XChaChaBox::open_or_make(&path).unwrap();
        let line = fs::read_to_string(&path).unwrap();
        let (id, key) = line.trim_end().split_once(' ').unwrap();
        let printed = format!("{secrets:?}");
        assert!(printed.contains(id) && !printed.contains(key), "{printed}");
        let bytes = Base64::decode_vec(key).unwrap();
        assert!(!printed.contains(&format!("{}, {}", bytes[0], bytes[1])), "{printed}");
    }
}
