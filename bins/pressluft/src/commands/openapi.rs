//! `pressluft openapi`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

#[allow(clippy::print_stdout, reason = "printing is what the command does")]
pub(crate) fn run(folder: Option<&Path>) -> anyhow::Result<ExitCode> {
    let Some(folder) = folder else {
        print!("{}", api::openapi_yaml());
        return Ok(ExitCode::SUCCESS);
    };
    let files = [
        ("openapi.yaml", api::openapi_yaml()),
        ("error-codes.json", api::error_codes_json()),
        ("job-types.json", api::job_types_json()),
        ("schemas/error.json", api::error_schema_json()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
