//! Running other programs: every command is echoed before it runs, and a failure names the command.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The command as one can type it into a shell: the variables set for it, the program, its arguments.
pub(crate) fn shown(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)))
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), quoted(value)));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+*".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Prints the command to stderr, in the manner of `set -x`.
pub(crate) fn echo(command: &Command) {
    eprintln!("+ {}", shown(command));
}

/// Echoes and runs a command with this process's input and output; an error if it cannot start or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    echo(command);
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Whether a command starts and succeeds; prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a command writes to stdout; an error if it cannot start or fails. Does not echo: for questions, not actions.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not answer in UTF-8", shown(command)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_command_as_a_shell_takes_it() {
        let mut command = Command::new("cargo");
        command.arg("build").arg("it's here").env("CFLAGS", "-O2 -g").env_remove("PATH");
        assert_eq!(shown(&command), r"CFLAGS='-O2 -g' cargo build 'it'\''s here'");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("`sh -c 'exit 3'` failed") && error.contains('3'), "{error}");
        let error = run(&mut Command::new("/nonexistent/program")).unwrap_err().to_string();
        assert_eq!(error, "cannot start `/nonexistent/program`");
    }

    #[test]
    fn answers_output_and_success() {
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
        assert!(output(&mut Command::new("false")).is_err());
        assert!(succeeds(&mut Command::new("true")));
        assert!(!succeeds(&mut Command::new("false")));
        assert!(!succeeds(&mut Command::new("/nonexistent/program")));
    }
}
