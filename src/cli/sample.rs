//! A file of flags to start from: every flag with its help and its default, all commented out.

use std::fmt::Write;

use clap::{Arg, Command};

use super::sources::is_setting;

/// Longest line of help, in bytes.
const WIDTH: usize = 110;

/// The file for a sub-command; empty for one that there is not.
#[must_use]
pub fn sample(name: &str) -> String {
    super::command().find_subcommand(name).map(of).unwrap_or_default()
}

fn of(sub: &Command) -> String {
    let name = sub.get_name();
    let mut text = format!(
        "# Flags of `causeway {name}`, each with its default where it has one. To set one, take away the # before its name.\n\
         # Start with: causeway {name} --config-file FILE. The command line wins, then the environment, then this file.\n"
    );
    let mut heading = None;
    for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set() && is_setting(arg)) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            // Writing to a string can't fail.
            let _ = writeln!(text, "\n# == {}", heading.unwrap_or("Other"));
        }
        let _ = writeln!(text, "\n{}\n#{} = {}", help(arg), arg.get_long().unwrap_or_default(), value(arg));
    }
    text
}

fn help(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut lines = vec!["#".to_owned()];
    for word in help.split_whitespace() {
        let last = lines.last_mut().filter(|line| line.len() + word.len() < WIDTH);
        match last {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("# {word}")),
        }
    }
    lines.join("\n")
}

/// The default as TOML, or what is to be put in its place.
fn value(arg: &Arg) -> String {
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| literal(&value.to_string_lossy())).collect();
    let names = || arg.get_value_names().unwrap_or_default().iter().map(|name| literal(name)).collect();
    let values: Vec<String> = if defaults.is_empty() { names() } else { defaults };
    match matches!(arg.get_action(), clap::ArgAction::Append) {
        true => format!("[{}]", values.join(", ")),
        false => values.join(" "),
    }
}

fn literal(text: &str) -> String {
    let bare = text.parse::<i64>().is_ok() || text.parse::<f64>().is_ok() || matches!(text, "true" | "false");
    if bare { text.to_owned() } else { format!("\"{text}\"") }
}
