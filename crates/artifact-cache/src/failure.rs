//! How troubles become the codes that jobs end with.

use std::future::Future;
use std::io;
use std::path::Path;

use domain_kernel::JobErrorCode as Code;
use jobs::{Failure, StepContext, StepError};

/// The source does not give it, or the cache no longer has it.
pub(crate) fn unavailable(detail: impl Into<String>) -> Failure {
    Failure::new(Code::ArtifactUnavailable, detail)
}

/// The source gives something else.
pub(crate) fn mismatch(detail: impl Into<String>) -> Failure {
    Failure::new(Code::ArtifactChecksumMismatch, detail)
}

/// Trouble with a file: a full disk and a file that is not what it is called have codes of their own.
pub(crate) fn io_failed(path: &Path, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::HostDiskFull,
        io::ErrorKind::InvalidData => Code::ArtifactChecksumMismatch,
        _ => Code::ArtifactUnavailable,
    };
    Failure::new(code, format!("{}: {error}", path.display()))
}

/// Runs what blocks apart from the runtime's own threads.
pub(crate) fn apart<T, W>(path: &Path, work: W) -> impl Future<Output = Result<T, Failure>> + use<T, W>
where
    T: Send + 'static,
    W: FnOnce() -> io::Result<T> + Send + 'static,
{
    let path = path.to_owned();
    async move {
        let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
        done.flatten().map_err(|error| io_failed(&path, &error))
    }
}

/// Ends `work` where the step should stop.
pub(crate) async fn stoppable<T>(
    context: &StepContext,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::select! {
        done = work => done,
        stopped = context.sleep(context.time_left()) => {
            stopped?;
            Err(StepError::DeadlineExceeded)
        }
    }
}
