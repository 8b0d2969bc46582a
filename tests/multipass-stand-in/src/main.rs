//! The executable: `multipass-stand-in <folder> ARGUMENTS...` is the client, with `--daemon` before the folder a helper.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if words.first().map(String::as_str) == Some("--daemon") && words.len() == 3 {
        multipass_stand_in::daemon::run(Path::new(&words[1]), &words[2]);
        return ExitCode::SUCCESS;
    }
    if words.is_empty() {
        return ExitCode::from(97);
    }
    let folder = words.remove(0);
    let code = multipass_stand_in::client::run(Path::new(&folder), &words);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(98))
}
