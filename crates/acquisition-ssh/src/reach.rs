//! A name's addresses, and a connection to one of them that says why there is none.

use std::future::Future;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use nodes_domain::Hostname;
use tokio::net::TcpStream;

/// Awaits `work` for `limit` at most. `None`: that was not enough.
pub(crate) async fn within<T>(
    context: &StepContext,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<Option<T>, StepError> {
    context.check()?;
    let clock = context.clock();
    tokio::select! {
        biased;
        reason = context.limits.cancel.cancelled() => Err(StepError::Stopped(reason)),
        value = work => Ok(Some(value)),
        () = clock.sleep(limit.min(context.time_left())) => context.check().map(|()| None),
    }
}

pub(crate) fn unreachable(detail: impl Into<String>) -> StepError {
    StepError::failed(JobErrorCode::RemoteHostUnreachable, detail)
}

/// The addresses that a name means, the resolver's first one first; never empty.
pub(crate) async fn addresses(
    hostname: &Hostname,
    port: u16,
    limit: Duration,
    context: &StepContext,
) -> Result<Vec<SocketAddr>, StepError> {
    let lookup = tokio::net::lookup_host((hostname.as_str(), port));
    let mut found: Vec<SocketAddr> = match within(context, limit, lookup).await? {
        Some(Ok(found)) => found.collect(),
        Some(Err(error)) => {
            let reason = error.to_string();
            let reason = reason.rsplit(": ").next().unwrap_or_default();
            return Err(unreachable(format!(
                "The name `{hostname}` has no address here ({reason})."
            )));
        }
        None => {
            return Err(unreachable(format!(
                "The name `{hostname}` was not resolved within {} s.",
                limit.as_secs()
            )));
        }
    };
    for address in &mut found {
        address.set_ip(address.ip().to_canonical());
    }
    if found.is_empty() {
        return Err(unreachable(format!("The name `{hostname}` has no address here.")));
    }
    Ok(found)
}

/// The first address that accepts a connection, each within `limit`. The connection is closed at once.
pub(crate) async fn first_open(
    addresses: &[SocketAddr],
    limit: Duration,
    context: &StepContext,
) -> Result<SocketAddr, StepError> {
    let mut seen = Vec::new();
    for address in addresses {
        match within(context, limit, TcpStream::connect(address)).await? {
            Some(Ok(_)) => return Ok(*address),
            Some(Err(error)) => seen.push(refusal(*address, &error)),
            None => seen.push(silence(*address, limit)),
        }
    }
    Err(unreachable(seen.join(" ")))
}

fn place(address: SocketAddr) -> String {
    format!("{} port {}", address.ip(), address.port())
}

fn silence(address: SocketAddr, limit: Duration) -> String {
    let seconds = limit.as_secs_f32();
    format!(
        "{} timed out: no answer within {seconds} s. The host is down, or a firewall drops the connection.",
        place(address)
    )
}

fn refusal(address: SocketAddr, error: &Error) -> String {
    let place = place(address);
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("{place} refused the connection: nothing listens there, or a firewall rejects it.")
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("There is no route to {place} ({error}).")
        }
        ErrorKind::TimedOut => format!("{place} timed out ({error})."),
        _ => format!("No connection to {place} ({error})."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use test_support::{RealClock, step_context};

    fn detail(error: StepError) -> String {
        let StepError::Failed(failure) = error else {
            panic!("{error:?}")
        };
        assert_eq!(failure.code, JobErrorCode::RemoteHostUnreachable);
        failure.detail
    }

    fn context() -> StepContext {
        step_context("test", Duration::from_secs(20), Arc::new(RealClock)).0
    }

    /// A listener whose queue is full: the kernel drops whatever else asks.
    async fn silent() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap().into_std().unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        let patience = Duration::from_millis(300);
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, patience) {
            filling.push(stream);
        }
        (listener, filling)
    }

    #[tokio::test]
    async fn each_reason_for_no_connection_has_its_own_words() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap();
        drop(free);
        let limit = Duration::from_millis(200);
        let refused = detail(first_open(&[closed], limit, &context()).await.unwrap_err());
        assert!(refused.contains("refused the connection"), "{refused}");

        let (listener, _filling) = silent().await;
        let full = listener.local_addr().unwrap();
        let late = detail(first_open(&[full], limit, &context()).await.unwrap_err());
        assert!(late.contains("timed out: no answer within 0.2 s"), "{late}");

        let route = refusal(closed, &Error::from_raw_os_error(113));
        assert!(route.contains("no route"), "{route}");
        let network = refusal(closed, &Error::from_raw_os_error(101));
        assert!(network.contains("no route"), "{network}");

        let name = "no-such-host.invalid".parse().unwrap();
        let unknown = addresses(&name, 22, Duration::from_secs(10), &context()).await;
        let unknown = detail(unknown.unwrap_err());
        assert!(unknown.contains("`no-such-host.invalid`"), "{unknown}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_where_the_first_one_does_not_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = SocketAddr::new("127.0.0.2".parse().unwrap(), open.port());
        let found = first_open(&[closed, open], Duration::from_secs(5), &context()).await;
        assert_eq!(found.unwrap(), open);
    }

    #[tokio::test]
    async fn a_cancel_ends_the_wait_for_a_silent_host() {
        let (context, cancel, _) = step_context("test", Duration::from_secs(60), Arc::new(RealClock));
        let waiting = within(&context, Duration::from_secs(60), std::future::pending::<()>());
        let stop = async { cancel.cancel(domain_kernel::StopReason::Cancelled) };
        let (ended, ()) = tokio::join!(waiting, stop);
        assert!(matches!(ended, Err(StepError::Stopped(_))), "{ended:?}");
    }
}
