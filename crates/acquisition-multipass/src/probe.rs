//! Which of a machine's addresses is the one that answers SSH.

use std::net::SocketAddr;

use async_trait::async_trait;
use jobs::{StepContext, StepError};
use process_exec::is_own_address;

/// Tries addresses of machines.
#[async_trait]
pub trait AddressProbe: Send + Sync {
    /// Whether something accepts TCP connections there, known by the context's deadline.
    async fn answers(&self, address: SocketAddr, context: &StepContext) -> Result<bool, StepError>;
}

/// Connects. Addresses of this host are no machine's: a container bridge inside a machine often has the same address as
/// the one outside, where the host's own SSH server would answer.
pub struct TcpProbe;

#[async_trait]
impl AddressProbe for TcpProbe {
    async fn answers(&self, address: SocketAddr, context: &StepContext) -> Result<bool, StepError> {
        if is_own_address(address.ip()) {
            return Ok(false);
        }
        tokio::select! {
            biased;
            connected = tokio::net::TcpStream::connect(address) => Ok(connected.is_ok()),
            waited = context.sleep(context.time_left()) => match waited {
                Ok(()) | Err(StepError::DeadlineExceeded) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use test_support::{RealClock, step_context};

    use super::*;

    #[tokio::test]
    async fn this_hosts_own_address_is_never_a_machines_although_it_answers() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let context = step_context("acquire", Duration::from_secs(5), Arc::new(RealClock)).0;
        let answered = TcpProbe.answers(listener.local_addr().unwrap(), &context).await;
        assert!(matches!(answered, Ok(false)), "{answered:?}");
    }
}
