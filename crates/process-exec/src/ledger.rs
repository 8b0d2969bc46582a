//! The record of what runs: one small file per child, in a folder of the data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::proc_table::{ProcessKey, boot_id};
use crate::terminate::{GRACE, end_family};

/// The folder of records.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

/// What recovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How many recorded children a dead server had left.
    pub records: usize,
    /// Processes that could not be ended.
    pub left: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    program: String,
    mark: String,
    process: ProcessKey,
    boot_id: String,
}

impl Ledger {
    /// A ledger in `folder`, which is made where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn file(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.json"))
    }

    pub(crate) fn record(&self, run: &str, program: &str, mark: &str, process: ProcessKey) -> io::Result<()> {
        let record = Record {
            program: program.to_owned(),
            mark: mark.to_owned(),
            process,
            boot_id: boot_id()?,
        };
        let temporary = self.folder.join(format!("{run}.tmp"));
        fs::write(&temporary, serde_json::to_vec(&record)?)?;
        fs::rename(temporary, self.file(run))
    }

    pub(crate) fn forget(&self, run: &str) -> io::Result<()> {
        remove(&self.file(run))
    }

    /// Ends, and waits for, every recorded child of a server that died, with all its descendants. Call it while no
    /// other process can start any: with the lock of the data directory held, before work is resumed.
    pub async fn recover(&self) -> io::Result<RecoveryReport> {
        let present_boot = boot_id()?;
        let mut report = RecoveryReport::default();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if let Some(record) = read_record(&path)? {
                report.records += 1;
                if record.boot_id == present_boot {
                    let left = end_family(&record.mark, Some(record.process), GRACE).await?;
                    tracing::info!(
                        program = record.program,
                        ?left,
                        "ended what a dead server had left running"
                    );
                    if !left.is_empty() {
                        // Still on record: the next start must not work beside them either.
                        report.left.extend(left);
                        continue;
                    }
                }
            }
            remove(&path)?;
        }
        Ok(report)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A record, or `None` for one that was cut off while it was written: its child was never given its go.
fn read_record(path: &Path) -> io::Result<Option<Record>> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&fs::read(path)?).ok())
}
