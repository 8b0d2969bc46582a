//! `pressluft`: the server and its tools. See `pressluft --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pressluft::main()
}
