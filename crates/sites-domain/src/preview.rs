//! Where an environment answers, and how it proves that it is itself that answers.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{Secret, ShortId, StopReason};
use hmac::{Hmac, Mac};
use jobs::StepContext;
use sha2::Sha256;

/// The header of a request that asks for the proof: 32 lower-case hexadecimal digits.
pub const PREVIEW_NONCE_HEADER: &str = "X-Pressluft-Nonce";

/// The header of the answer that carries it.
pub const PREVIEW_PROOF_HEADER: &str = "X-Pressluft-Proof";

/// The preview URL of an environment: `http://<short id>.<domain>` where the operator has a domain for previews, else
/// `http://<short id>.<address with dashes>.sslip.io`, a public name service that answers with the address in the name.
pub fn preview_url(id: &ShortId, address: IpAddr, domain: Option<&str>) -> String {
    if let Some(domain) = domain {
        return format!("http://{id}.{domain}");
    }
    let mut label = address.to_string().replace(['.', ':'], "-");
    // A label neither begins nor ends with a hyphen; a zero there means the same address.
    if label.starts_with('-') {
        label.insert(0, '0');
    }
    if label.ends_with('-') {
        label.push('0');
    }
    format!("http://{id}.{label}.sslip.io")
}

/// The proof that an environment answers a nonce with: HMAC-SHA256 under its secret over the nonce, a line feed, and the
/// address that its own database says it has (`siteurl`), as lower-case hexadecimal.
pub fn proof_of(secret: &Secret, nonce: &str, siteurl: &str) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{nonce}\n{siteurl}").as_bytes());
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a preview was not proved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreviewError {
    /// No connection, or no answer.
    #[error("no answer from {address}: {reason}")]
    NoAnswer {
        /// The node's address and port.
        address: String,
        /// What was met.
        reason: String,
    },
    /// No end within the limit.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It answered with something else than 200.
    #[error("the answer is {status}, not 200")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// It leads to another host.
    #[error("it redirects to another address: {0}")]
    LedAway(String),
    /// 200, but the environment did not sign it.
    #[error("the answer is 200 but carries no proof: something else answers for this host, or WordPress did not run")]
    NoProof,
    /// 200, signed for another address or with another secret.
    #[error("the proof is wrong: the environment's database names another address than the preview's")]
    WrongProof,
    /// The context stopped it.
    #[error("stopped: {0:?}")]
    Stopped(StopReason),
}

/// Asks a preview for its proof.
#[async_trait]
pub trait PreviewProbe: Send + Sync {
    /// Asks `url` at the node's own address (no name service takes part), with a new nonce, follows redirects within the
    /// host, and wants 200 and the right proof at the end. One try.
    async fn prove(
        &self,
        url: &str,
        address: IpAddr,
        secret: &Secret,
        context: &StepContext,
    ) -> Result<(), PreviewError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str, domain: Option<&str>) -> String {
        let id = "0123456789ab".parse().unwrap();
        preview_url(&id, address.parse().unwrap(), domain)
    }

    #[test]
    fn a_preview_is_named_by_the_short_id_and_the_address_or_the_operators_domain() {
        assert_eq!(url("192.0.2.7", None), "http://0123456789ab.192-0-2-7.sslip.io");
        assert_eq!(url("2001:db8::1", None), "http://0123456789ab.2001-db8--1.sslip.io");
        assert_eq!(url("2001:db8::", None), "http://0123456789ab.2001-db8--0.sslip.io");
        assert_eq!(
            url("192.0.2.7", Some("preview.example.test")),
            "http://0123456789ab.preview.example.test"
        );
    }

    #[test]
    fn a_proof_is_the_hmac_that_other_tools_make_too_and_changes_with_every_part() {
        // printf 'aa\nhttp://x.test' | openssl dgst -sha256 -hmac key
        let proof = |key: &str, nonce: &str, url: &str| proof_of(&Secret::new(key), nonce, url);
        let good = proof("key", "aa", "http://x.test");
        assert_eq!(good.len(), 64);
        assert_ne!(good, proof("kez", "aa", "http://x.test"));
        assert_ne!(good, proof("key", "ab", "http://x.test"));
        assert_ne!(good, proof("key", "aa", "http://y.test"));
        assert_eq!(good, "8a94a91a9fe38f8ba1522fda895fec7fd8a23a9a390bc7812d23066f725b7e30");
    }
}
