//! Asks previews for their proof over HTTP, at the address of their node: no name service, no proxy and no kept connection
//! takes part, so that what answers is what the node serves now.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::Secret;
use jobs::StepContext;
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use sites_domain::{PREVIEW_NONCE_HEADER, PREVIEW_PROOF_HEADER, PreviewError, PreviewProbe, proof_of};

/// How long one try may take, redirects included.
const LIMIT: Duration = Duration::from_secs(10);

/// How many redirects are followed. WordPress needs one at most.
const REDIRECTS: usize = 5;

/// How much of a page is read; the rest is left.
const MAX_BODY: usize = 1024 * 1024;

/// Asks previews for their proof. Keeps nothing between two tries.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpPreviewProbe;

#[async_trait]
impl PreviewProbe for HttpPreviewProbe {
    async fn prove(
        &self,
        url: &str,
        address: IpAddr,
        secret: &Secret,
        context: &StepContext,
    ) -> Result<(), PreviewError> {
        bounded(context, ask(url, address, secret)).await?
    }
}

async fn ask(url: &str, address: IpAddr, secret: &Secret) -> Result<(), PreviewError> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let start = Start::new(url, address)?;
    let mut page = start.url.clone();
    for _ in 0..=REDIRECTS {
        let request = start.client.get(page.clone()).header(PREVIEW_NONCE_HEADER, &nonce);
        let answer = request.send().await.map_err(|error| start.no_answer(&error))?;
        if let Some(next) = start.next_page(&page, &answer)? {
            page = next;
            continue;
        }
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(PreviewError::Status { status });
        }
        compare(&answer, &proof_of(secret, &nonce, url))?;
        return start.read_page(answer).await;
    }
    Err(PreviewError::LedAway(format!(
        "more than {REDIRECTS} times, last to {page}"
    )))
}

/// Where a try begins, and what it asks with.
struct Start {
    url: Url,
    place: SocketAddr,
    client: Client,
}

impl Start {
    fn new(url: &str, address: IpAddr) -> Result<Self, PreviewError> {
        let refused = |reason: String| PreviewError::NoAnswer {
            address: address.to_string(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|error| refused(format!("the URL {url:?}: {error}")))?;
        // Addresses are not looked up, so that a host that is one could lead elsewhere.
        let host = parsed.domain().filter(|_| parsed.scheme() == "http");
        let host = host.ok_or_else(|| refused(format!("the URL {url:?} is not `http` to a named host")))?;
        let place = SocketAddr::new(address, parsed.port_or_known_default().unwrap_or(80));
        let client = Client::builder()
            .no_proxy()
            .resolve(host, place)
            .redirect(Policy::none())
            .build()
            .map_err(|error| refused(with_causes(&error)))?;
        Ok(Self {
            url: parsed,
            place,
            client,
        })
    }

    /// Where a redirect leads, if the answer is one.
    fn next_page(&self, page: &Url, answer: &Response) -> Result<Option<Url>, PreviewError> {
        let location = answer.headers().get(LOCATION);
        let Some(location) = location.filter(|_| answer.status().is_redirection()) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(location.as_bytes());
        match page.join(&text) {
            Ok(next) if next.origin() == self.url.origin() => Ok(Some(next)),
            _ => Err(PreviewError::LedAway(text.chars().take(200).collect())),
        }
    }

    /// Takes the page, so that one that breaks off is not taken for one that is served.
    async fn read_page(&self, mut answer: Response) -> Result<(), PreviewError> {
        let mut count = 0;
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.no_answer(&error))? {
            count += chunk.len();
            if count > MAX_BODY {
                break;
            }
        }
        Ok(())
    }

    fn no_answer(&self, error: &reqwest::Error) -> PreviewError {
        PreviewError::NoAnswer {
            address: self.place.to_string(),
            reason: with_causes(error),
        }
    }
}

fn compare(answer: &Response, expected: &str) -> Result<(), PreviewError> {
    let Some(found) = answer.headers().get(PREVIEW_PROOF_HEADER) else {
        return Err(PreviewError::NoProof);
    };
    if same(found.as_bytes(), expected.as_bytes()) {
        Ok(())
    } else {
        Err(PreviewError::WrongProof)
    }
}

/// Compares in a time that tells nothing of where two texts differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let pairs = one.iter().zip(other);
    let difference = pairs.fold(0, |difference, (one, other)| difference | (one ^ other));
    one.len() == other.len() && std::hint::black_box(difference) == 0
}

/// An error and what it came from: the first alone only says that a request failed.
fn with_causes(error: &reqwest::Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Awaits `work` for [`LIMIT`] at most, less where the context ends it.
async fn bounded<T>(context: &StepContext, work: impl Future<Output = T>) -> Result<T, PreviewError> {
    let allowed = LIMIT.min(context.time_left());
    let clock = context.clock();
    tokio::select! {
        biased;
        reason = context.limits.cancel.cancelled() => Err(PreviewError::Stopped(reason)),
        value = work => Ok(value),
        () = clock.sleep(allowed) => Err(PreviewError::TimedOut(allowed)),
    }
}
