//! `pressluft openapi`: prints the API's description, or writes everything that is generated from the code.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

#[allow(clippy::print_stdout, reason = "printing is what the command does")]
pub(crate) fn run(contracts: Option<&Path>, docs: Option<&Path>) -> anyhow::Result<ExitCode> {
    if let Some(folder) = contracts {
        write(folder, api::contracts())?;
    }
    if let Some(folder) = docs {
        write(folder, api::documents())?;
    }
    if contracts.or(docs).is_none() {
        print!("{}", api::openapi_yaml());
    }
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stdout, reason = "it says what it wrote")]
fn write(folder: &Path, files: Vec<(&str, String)>) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}
