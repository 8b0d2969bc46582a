//! The shell that is run on a host. It is for `sh`, reads what it works on from its input, and prints `<name>=<value>`.

/// Tells whose machine it is, and whether the user may use sudo.
pub(crate) const LOOK: &str = r#"
printf 'machine-id=%s\n' "$(cat /etc/machine-id 2>/dev/null)"
printf 'boot-id=%s\n' "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
if [ "$(id -u)" = 0 ] || sudo -n true </dev/null; then echo sudo=yes; else echo sudo=no; fi
"#;

/// Takes the line that it reads out of authorized_keys and leaves every other byte, the owner and the mode as they are.
/// The file is replaced whole, beside itself; behind a link it is the file that the link leads to.
///
/// Prints `line=gone` or `line=absent`, and `key=left` where the key stands there in another line.
pub(crate) const REMOVE_LINE: &str = r#"
set -eu
export LC_ALL=C
umask 077
IFS= read -r line
file=~/.ssh/authorized_keys
if [ ! -e "$file" ]; then echo line=absent; exit 0; fi
file=$(readlink -f -- "$file")
beside=
trap '[ -z "$beside" ] || rm -f -- "$beside"' EXIT
state=absent
found() {
    at=$(grep -abxF -m 1 -e "$line" -- "$file") && return 0
    # 1: there is none; anything else is trouble.
    [ $? = 1 ] || exit 1
    return 1
}
while found; do
    start=${at%%:*}
    next=$((start + ${#line} + 1))
    beside=$(mktemp -- "$file.XXXXXXXX")
    # For its owner and its mode; a file that nobody may write to is replaced as well.
    cp -p -- "$file" "$beside"
    chmod u+w -- "$beside"
    { head -c "$start" -- "$file"; tail -c "+$((next + 1))" -- "$file"; } > "$beside"
    chmod --reference="$file" -- "$beside"
    if [ "$(stat -c '%u:%g:%a' -- "$file")" != "$(stat -c '%u:%g:%a' -- "$beside")" ]; then
        echo "the owner of $file cannot be kept" >&2
        exit 1
    fi
    sync -- "$beside"
    mv -f -- "$beside" "$file"
    beside=
    state=gone
done
echo "line=$state"
data=${line#* }
if grep -aqF -e "${data%% *}" -- "$file"; then echo key=left; fi
"#;

/// Prints `line=restricted` where the key that it reads stands behind options of sshd's (`from=`, `restrict`): the line alone
/// would let in what the operator shut out. Otherwise `line=plain`.
pub(crate) const FIND_OPTIONS: &str = r#"
IFS= read -r key
file=~/.ssh/authorized_keys
if [ -e "$file" ] && grep -av '^[[:space:]]*#' -- "$file" | grep -aqF -e " $key"; then echo line=restricted
else echo line=plain; fi
"#;

/// One line for a person that does the same, without the care for a file that changes meanwhile.
pub(crate) fn removal_line(public_key: &str) -> String {
    let key = public_key.trim().replace('\'', r"'\''");
    format!(
        "k='{key}'; f=~/.ssh/authorized_keys; (umask 077; {{ grep -avxF \"$k\" \"$f\" || [ $? = 1 ]; }} > \"$f.new\" \
         && cat \"$f.new\" > \"$f\"; rm -f \"$f.new\")"
    )
}

/// The value of the last `<name>=<value>` in an output, which may hold whatever the login shell said before.
pub(crate) fn value<'a>(output: &'a str, name: &str) -> Option<&'a str> {
    let mut values = output.lines().filter_map(|line| line.split_once('='));
    let last = values.rfind(|(key, _)| *key == name);
    last.map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::{Output, Stdio};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE.* it's pressluft@host";
    const OTHER: &str = "ssh-rsa AAAAB3NzaC1yc2E other";

    #[allow(
        clippy::disallowed_methods,
        reason = "the script is for a shell: only one can say that it works"
    )]
    fn sh_as(user: Option<u32>, script: &str, home: &Path, input: &str) -> Output {
        let mut command = std::process::Command::new("sh");
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command
            .args(["-c", script])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn sh(script: &str, home: &Path, input: &str) -> Output {
        sh_as(None, script, home, input)
    }

    fn home_with(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".ssh/authorized_keys");
        fs::create_dir(home.path().join(".ssh")).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        (home, file)
    }

    fn removed(home: &Path) -> String {
        let output = sh(REMOVE_LINE, home, &format!("{KEY}\n"));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_line_goes_and_every_other_byte_stays() {
        let table: &[(Vec<u8>, Vec<u8>)] = &[
            (format!("{KEY}\n").into(), b"".to_vec()),
            (KEY.into(), b"".to_vec()),
            (format!("{OTHER}\n{KEY}\n").into(), format!("{OTHER}\n").into()),
            (format!("{OTHER}\n{KEY}").into(), format!("{OTHER}\n").into()),
            (format!("{KEY}\n{OTHER}").into(), OTHER.into()),
            (
                format!("{KEY}\n\n{OTHER}\n{KEY}\n# end").into(),
                format!("\n{OTHER}\n# end").into(),
            ),
            (
                [b"\xff\x00\xfe \r\n", KEY.as_bytes(), b"\n\xc3\x28\x00"].concat(),
                b"\xff\x00\xfe \r\n\xc3\x28\x00".to_vec(),
            ),
        ];
        for (before, after) in table {
            let (home, file) = home_with(before);
            assert_eq!(value(&removed(home.path()), "line"), Some("gone"));
            assert_eq!(
                &fs::read(&file).unwrap(),
                after,
                "{:?}",
                String::from_utf8_lossy(before)
            );
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
            let names = fs::read_dir(home.path().join(".ssh")).unwrap().count();
            assert_eq!(names, 1, "no temporary file stays behind");
            assert_eq!(value(&removed(home.path()), "line"), Some("absent"));
            assert_eq!(&fs::read(&file).unwrap(), after);
        }
    }

    #[test]
    fn a_line_that_only_resembles_the_keys_stays_and_is_told() {
        let near = format!("from=\"192.0.2.1\" {KEY}\n{KEY}2\n# {KEY}\n");
        let (home, file) = home_with(near.as_bytes());
        let inode = file.metadata().unwrap().ino();
        let said = removed(home.path());
        assert_eq!(
            (value(&said, "line"), value(&said, "key")),
            (Some("absent"), Some("left"))
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), near);
        assert_eq!(
            file.metadata().unwrap().ino(),
            inode,
            "a file without the line is not touched"
        );
    }

    #[test]
    fn a_file_that_its_own_user_may_only_read_loses_the_line_and_keeps_its_mode() {
        let (home, file) = home_with(format!("{OTHER}\n{KEY}\n").as_bytes());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        // Root may write to anything, so somebody else has to try.
        let user = rustix::process::geteuid().is_root().then_some(65534);
        for path in [home.path(), file.parent().unwrap(), &file] {
            std::os::unix::fs::chown(path, user, user).unwrap();
        }
        let output = sh_as(user, REMOVE_LINE, home.path(), &format!("{KEY}\n"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{OTHER}\n"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o400);
    }

    #[test]
    fn a_missing_file_and_one_behind_a_link_are_fine() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(value(&removed(home.path()), "line"), Some("absent"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);

        let (home, file) = home_with(b"");
        let real = home.path().join("keys");
        fs::write(&real, format!("{KEY}\n{OTHER}\n")).unwrap();
        fs::remove_file(&file).unwrap();
        symlink("../keys", &file).unwrap();
        assert_eq!(value(&removed(home.path()), "line"), Some("gone"));
        assert!(file.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), format!("{OTHER}\n"));
    }

    #[test]
    fn a_path_that_is_no_file_is_a_failure_and_nothing_is_left_behind() {
        let (home, file) = home_with(b"");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        let output = sh(REMOVE_LINE, home.path(), &format!("{KEY}\n"));
        assert!(!output.status.success(), "{output:?}");
        assert_eq!(fs::read_dir(home.path().join(".ssh")).unwrap().count(), 1);
    }

    #[test]
    fn the_line_for_a_person_takes_the_key_out_and_keeps_the_rest() {
        let command = removal_line(&format!("{KEY}\n"));
        assert!(!command.contains('\n'));
        for (before, after) in [
            (format!("{OTHER}\n{KEY}\n"), format!("{OTHER}\n")),
            (format!("{KEY}\n"), String::new()),
        ] {
            let (home, file) = home_with(before.as_bytes());
            for _ in 0..2 {
                let output = sh(&command, home.path(), "");
                assert!(output.status.success(), "{output:?}");
                assert_eq!(fs::read_to_string(&file).unwrap(), after);
            }
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(fs::read_dir(home.path().join(".ssh")).unwrap().count(), 1);
        }
    }

    #[test]
    fn options_before_the_key_are_found_and_what_only_resembles_them_is_not() {
        let data = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE";
        let found = |before: &str| {
            let (home, _) = home_with(before.as_bytes());
            let output = sh(FIND_OPTIONS, home.path(), &format!("{data}\n"));
            assert!(output.status.success(), "{output:?}");
            match value(&String::from_utf8(output.stdout).unwrap(), "line") {
                Some("restricted") => true,
                Some("plain") => false,
                other => panic!("{other:?}"),
            }
        };
        assert!(found(&format!("{OTHER}\nfrom=\"192.0.2.1\",no-pty {data} by hand")));
        assert!(found(&format!("# {data}\nrestrict {data}\r\n")));
        for before in [
            String::new(),
            format!("{data} by hand\n"),
            format!("# from=\"192.0.2.1\" {data}\n  # {data}\n"),
            format!("restrict {OTHER}\n"),
        ] {
            assert!(!found(&before), "{before}");
        }
        let home = tempfile::tempdir().unwrap();
        let output = sh(FIND_OPTIONS, home.path(), &format!("{data}\n"));
        assert_eq!(output.stdout, b"line=plain\n");
    }

    #[test]
    fn a_login_shell_that_talks_does_not_hide_a_value() {
        let output = "Welcome\nsudo=maybe\nboot-id=1\nsudo=yes\nPATH=a=b\n";
        assert_eq!(value(output, "sudo"), Some("yes"));
        assert_eq!(value(output, "PATH"), Some("a=b"));
        assert_eq!(value(output, "machine-id"), None);
    }

    #[test]
    fn a_look_at_this_machine_tells_its_ids() {
        let output = sh(LOOK, Path::new("/"), "");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(value(&said, "boot-id").unwrap(), process_exec::boot_id().unwrap());
        let machine_id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        assert_eq!(value(&said, "machine-id").unwrap(), machine_id.trim());
        assert!(matches!(value(&said, "sudo"), Some("yes" | "no")));
    }
}
