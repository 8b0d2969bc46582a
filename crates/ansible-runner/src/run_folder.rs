//! The private folder of one run: inventory, variables, temporary files and the control socket of SSH. Nothing of a run
//! is in its arguments.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with permissions 0700 that is removed with everything in it when this is dropped.
pub(crate) struct RunFolder {
    folder: TempDir,
}

impl RunFolder {
    /// A new one in `parent`, which is made where it is missing, holding the inventory and the variables.
    pub(crate) fn create(parent: &Path, inventory: &Value, variables: &Value) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let folder = tempfile::Builder::new()
            .prefix("run-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let run = Self { folder };
        write_private(&run.inventory(), inventory)?;
        write_private(&run.variables(), variables)?;
        Ok(run)
    }

    /// Removes the folders that runs of a dead server left in `parent`. Call it while no run is at work.
    pub(crate) fn clear_stale(parent: &Path) -> io::Result<usize> {
        let entries = match fs::read_dir(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("run-") {
                fs::remove_dir_all(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The inventory. JSON is YAML, and what reads inventories goes by the ending.
    pub(crate) fn inventory(&self) -> PathBuf {
        self.path().join("inventory.yml")
    }

    pub(crate) fn variables(&self) -> PathBuf {
        self.path().join("variables.json")
    }
}

/// The inventory of one machine, called `host` in `ssh_config`. `shared` is the control socket of a connection to it that is
/// open already; where there is none, or it ends, the run logs in by itself.
pub(crate) fn inventory(host: &str, ssh_config: &Path, shared: Option<&Path>, login_is_root: bool) -> Value {
    // Relative to the run's folder, where ansible-playbook is started: the path of a socket must be short.
    let own = Path::new("ssh.sock");
    let mut variables = json!({
        "ansible_ssh_common_args": format!("-F {}", quoted(ssh_config)),
        "ansible_control_path": shared.unwrap_or(own).to_string_lossy(),
    });
    if login_is_root {
        // Such a machine need not have sudo.
        variables["ansible_become"] = false.into();
    }
    json!({"all": {"hosts": {host: variables}}})
}

/// A path as one word for Ansible, which splits options like a shell and then evaluates what looks like a template.
fn quoted(path: &Path) -> String {
    let word = path.to_string_lossy().replace('\'', r#"'"'"'"#);
    format!("'{word}'")
}

fn write_private(path: &Path, content: &Value) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_run_folder_is_private_and_gone_afterwards() {
        let data = tempfile::tempdir().unwrap();
        let parent = data.path().join("run/ansible");
        let run = RunFolder::create(&parent, &json!({"a": 1}), &json!({"b": 2})).unwrap();
        let path = run.path().to_owned();
        assert_eq!(
            (mode(&path), mode(&run.inventory()), mode(&run.variables())),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(fs::read_to_string(run.variables()).unwrap(), r#"{"b":2}"#);
        drop(run);
        assert!(!path.exists());
    }

    #[test]
    fn folders_of_a_dead_server_are_cleared_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let parent = data.path().join("ansible");
        assert_eq!(RunFolder::clear_stale(&parent).unwrap(), 0);
        let run = RunFolder::create(&parent, &json!({}), &json!({})).unwrap();
        // A killed server drops nothing.
        std::mem::forget(run);
        fs::create_dir(parent.join("other")).unwrap();
        assert_eq!(RunFolder::clear_stale(&parent).unwrap(), 1);
        let left: Vec<_> = fs::read_dir(&parent)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["other"]);
    }

    #[test]
    fn root_needs_no_sudo_and_a_path_with_spaces_stays_one_word() {
        let host = |value: &Value| value["all"]["hosts"]["pressluft-x"].clone();
        let plain = host(&inventory("pressluft-x", Path::new("/data/ssh config"), None, false));
        assert_eq!(plain["ansible_ssh_common_args"], "-F '/data/ssh config'");
        assert_eq!(plain["ansible_control_path"], "ssh.sock");
        assert_eq!(plain["ansible_become"], Value::Null);
        let shared = Path::new("/run/x");
        let root = host(&inventory("pressluft-x", Path::new("/data/ssh"), Some(shared), true));
        assert_eq!(root["ansible_control_path"], "/run/x");
        assert_eq!(root["ansible_become"], false);
    }
}
