//! How the provider's troubles become the codes that jobs end with.

use std::io;
use std::path::Path;

use jobs::StepError;

pub(crate) use domain_kernel::JobErrorCode as Code;

/// Trouble with a file or folder: a full disk has a code of its own, everything else gets `code`.
pub(crate) fn io_failed(code: Code, path: &Path, error: &io::Error) -> StepError {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::HostDiskFull,
        _ => code,
    };
    StepError::failed(code, format!("{}: {error}", path.display()))
}

/// Whether a line of a command's output says that the disk is full.
pub(crate) fn says_disk_full(line: &str) -> bool {
    line.contains("No space left on device")
        || line.contains("Disk quota exceeded")
        || line.contains("enough free space")
}
