//! What is looked at before the server starts, so that a bad setting is told at once and not by the first job.

use std::io::ErrorKind;
use std::net::TcpListener;

use anyhow::anyhow;

use crate::settings::{SettingError, Settings};

/// Looks for Ansible and its playbooks. What was set and is not there is a bad setting. What is missing by default is
/// returned, a line each with what to do: the server serves everything else without it.
pub(crate) fn check_ansible(settings: &Settings) -> Result<Vec<String>, SettingError> {
    let needed = [
        (
            "ansible_dir",
            settings.playbook(),
            "set PRESSLUFT_ANSIBLE_DIR to the `ansible` folder of Pressluft",
        ),
        (
            "ansible_venv",
            settings.ansible_playbook(),
            "run scripts/setup, or set PRESSLUFT_ANSIBLE_VENV to a virtual environment with ansible-core",
        ),
    ];
    let mut missing = Vec::new();
    for (name, file, remedy) in needed {
        if file.is_file() {
            continue;
        }
        match settings.place(name) {
            Some(place) => return Err(SettingError(format!("{place}: {} is not there", file.display()))),
            None => missing.push(format!(
                "no node can be provisioned: {} is not there; {remedy}",
                file.display()
            )),
        }
    }
    Ok(missing)
}

/// Takes the address to listen on. An address that this host does not have is a bad setting; one that is taken is not.
pub(crate) fn bind(settings: &Settings) -> anyhow::Result<TcpListener> {
    TcpListener::bind(&settings.bind).map_err(|error| {
        let place = settings.place("bind").unwrap_or("PRESSLUFT_BIND");
        let text = format!("{place}: cannot listen on {}: {error}", settings.bind);
        match error.kind() {
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied => anyhow!(text),
            _ => SettingError(text).into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::settings::SettingsSource;

    use super::*;

    fn read(directory: &std::path::Path, variables: &[(&str, &str)]) -> Settings {
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let source = SettingsSource {
            directory: directory.to_owned(),
            environment: environment.collect(),
            ..SettingsSource::default()
        };
        Settings::read(&source).unwrap()
    }

    #[test]
    fn ansible_that_was_set_and_is_missing_is_a_bad_setting_named_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for (name, file) in [
            ("PRESSLUFT_ANSIBLE_DIR", "/nowhere/playbooks/node-provision.yml"),
            ("PRESSLUFT_ANSIBLE_VENV", "/nowhere/bin/ansible-playbook"),
        ] {
            let error = check_ansible(&read(folder.path(), &[(name, "/nowhere")])).unwrap_err();
            assert_eq!(error.to_string(), format!("{name}: {file} is not there"));
        }
    }

    #[test]
    fn ansible_that_is_missing_by_default_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let missing = check_ansible(&read(folder.path(), &[])).unwrap();
        assert_eq!(missing.len(), 2);
        assert!(
            missing[0].contains("node-provision.yml") && missing[0].contains("PRESSLUFT_ANSIBLE_DIR"),
            "{missing:?}"
        );
        assert!(
            missing[1].contains("ansible-playbook") && missing[1].contains("scripts/setup"),
            "{missing:?}"
        );

        for file in ["ansible/playbooks/node-provision.yml", ".venv/bin/ansible-playbook"] {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        assert_eq!(check_ansible(&read(folder.path(), &[])), Ok(Vec::new()));
    }

    #[test]
    fn an_address_that_this_host_does_not_have_is_a_bad_setting_and_one_that_is_taken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |bind: &str| super::bind(&read(folder.path(), &[("PRESSLUFT_BIND", bind)])).unwrap_err();
        // 192.0.2.0/24 is for documentation: no host has it.
        let error = refused("192.0.2.1:8080");
        assert!(
            error
                .to_string()
                .starts_with("PRESSLUFT_BIND: cannot listen on 192.0.2.1:8080: "),
            "{error}"
        );
        assert!(error.is::<SettingError>());
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = refused(&taken.local_addr().unwrap().to_string());
        assert!(
            error.to_string().starts_with("PRESSLUFT_BIND: ") && !error.is::<SettingError>(),
            "{error}"
        );
    }
}
