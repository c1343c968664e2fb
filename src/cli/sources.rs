//! Where flags come from: the command line, then the environment, then a file, then files of statusd where they are read, then the
//! default; the first that has one wins.
//!
//! In the environment `--tcp-port` is `CAUSEWAY_TCP_PORT`, or `WAKUNODE2_TCP_PORT` where that is not set; names that nwaku or
//! go-waku have for a flag count there and in the file too. The file is TOML, and flat: `file` reads it. Lists are JSON arrays
//! in the environment and arrays in the file. On the command line nwaku's forms are understood: `--flag=value`,
//! `--flag value`, `--flag:value`, and `--flag` alone for true.
//!
//! Everything becomes a command line in the end, so that clap alone reads values; each that it refuses is named with
//! where it stands.

use std::{collections::HashSet, ffi::OsString, iter, path::PathBuf};

use clap::{
    Arg, ArgAction, Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{parse_bool, statusd};

mod file;

/// Prefixes under which a flag is looked up in the environment, the first that is set wins.
const PREFIXES: [&str; 2] = ["CAUSEWAY_", "WAKUNODE2_"];
/// The sub-command that flags are for when none is named.
const DEFAULT: &str = "node";
/// The flag that names the file.
const CONFIG_FILE: &str = "config-file";
/// The sub-command that reads files of statusd.
const MAILSERVER: &str = "mailserver";
/// The flag that names them.
const STATUSD_CONFIG: &str = "statusd-config";
/// Flags that are no settings: no file has them.
const NO_SETTINGS: [&str; 4] = [CONFIG_FILE, "print-config", "print-routes", "check"];

/// A flag and its value, where the environment or the file has one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// The flag's name.
    flag: String,
    value: Value,
    /// For errors: the variable, or the file and the line.
    origin: String,
}

/// A value outside of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// For a flag that takes one.
    One(OsString),
    /// One for each time that the flag is to be given.
    Many(Vec<String>),
}

/// The command, and the line with all that the environment and the file add to it.
///
/// # Errors
/// A file that can't be read or has no such form, a flag that there is not, a value that a flag does not take.
pub fn gather(
    command: Command,
    mut line: Vec<OsString>,
    var: &impl Fn(&str) -> Option<OsString>,
) -> Result<(Command, Vec<OsString>), Error> {
    if names_no_command(&line) {
        line.insert(1, DEFAULT.into());
    }
    if line.get(1).is_some_and(|word| word == "bridge") && line.get(2).is_some_and(|word| word == "check") {
        // A flag, so that all others count for it as well.
        line[2] = "--check".into();
    }
    let path = path(&command, &line);
    let first_flag = 1 + path.len();
    let Some(sub) = sub_command(&command, &path).cloned() else { return Ok((command, line)) };
    let given = normalise(&sub, first_flag, &mut line);
    if let Some(all) = line.iter().position(|word| word == "--help-all") {
        line[all] = "--help".into();
        return Ok((with_all_shown(command, &path), line));
    }
    // Help needs no settings, and wrong ones must not keep it from being read.
    if line.iter().skip(first_flag).take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h") {
        return Ok((command, line));
    }
    let environment = environment(&sub, &given.flags, var)?;
    let mut settings = environment.clone();
    let named = environment.iter().find_map(|setting| match &setting.value {
        Value::One(path) if setting.flag == CONFIG_FILE => Some(path.clone()),
        _ => None,
    });
    if let Some(path) = given.config_file.or(named).filter(|path| !path.is_empty()) {
        let taken = given.flags.iter().chain(environment.iter().map(|setting| &setting.flag));
        let taken: HashSet<String> = taken.cloned().collect();
        let from_file = file::read(&sub, &PathBuf::from(path))?;
        let is_free = |setting: &Setting| find(&sub, &setting.flag).is_some_and(|arg| is_free(&sub, arg, &taken));
        settings.extend(from_file.into_iter().filter(is_free));
    }
    let files = statusd_files(&line, &settings);
    if !files.is_empty() {
        let taken = given.flags.iter().chain(settings.iter().map(|setting| &setting.flag)).cloned().collect();
        let is_free = |setting: &Setting| find(&sub, &setting.flag).is_some_and(|arg| is_free(&sub, arg, &taken));
        settings.extend(of_statusd(&sub, &files)?.into_iter().filter(is_free));
    }
    let mut words = Vec::new();
    for setting in &settings {
        let added = setting.words(&sub)?;
        check(&command, &path, &added, &setting.origin)?;
        words.extend(added);
    }
    // Before what was given: behind it could be a `--`.
    line.splice(first_flag..first_flag, words);
    Ok((command, line))
}

/// The sub-commands that the line names, each one of that before it.
fn path(command: &Command, line: &[OsString]) -> Vec<String> {
    let (mut path, mut command) = (Vec::new(), command);
    for word in line.iter().skip(1).map_while(|word| word.to_str()) {
        let Some(sub) = command.find_subcommand(word) else { break };
        command = sub;
        path.push(sub.get_name().to_owned());
    }
    path
}

/// The last of them.
fn sub_command<'a>(command: &'a Command, path: &[String]) -> Option<&'a Command> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(command.find_subcommand(first)?, |command, name| command.find_subcommand(name))
}

/// The same command, whose help tells of rare flags too.
fn with_all_shown(command: Command, path: &[String]) -> Command {
    match path {
        [] => command.mut_args(|arg| arg.hide(false)),
        [name, rest @ ..] => command.mut_subcommand(name, |sub| with_all_shown(sub, rest)),
    }
}

/// The files of statusd that are named, on the line or elsewhere.
fn statusd_files(line: &[OsString], settings: &[Setting]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if line.get(1).is_none_or(|name| name != MAILSERVER) {
        return files;
    }
    let mut words = line.iter().skip(2).take_while(|word| *word != "--").filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let long = word.strip_prefix("--").and_then(|word| word.strip_prefix(STATUSD_CONFIG));
        let short = word.strip_prefix("-c");
        match long.or(short) {
            Some("") => files.extend(words.next().map(PathBuf::from)),
            Some(path) => files.push(path.strip_prefix('=').unwrap_or(path).into()),
            None => {}
        }
    }
    let named = settings.iter().filter(|setting| setting.flag == STATUSD_CONFIG);
    files.extend(named.flat_map(|setting| match &setting.value {
        Value::One(path) => vec![PathBuf::from(path)],
        Value::Many(paths) => paths.iter().map(PathBuf::from).collect(),
    }));
    files
}

/// What they say, as flags.
fn of_statusd(sub: &Command, files: &[PathBuf]) -> Result<Vec<Setting>, Error> {
    let read = statusd::read(files).map_err(refuse)?;
    let setting = |(flag, mut values): (&str, Vec<String>)| {
        let value = match find(sub, flag).is_some_and(is_list) {
            true => Value::Many(values),
            false => Value::One(values.pop().unwrap_or_default().into()),
        };
        Setting { flag: flag.to_owned(), value, origin: format!("--{flag}, from a file of -c") }
    };
    Ok(read.settings.into_iter().map(setting).collect())
}

/// Flags and no sub-command, as operators of nwaku call it.
fn names_no_command(line: &[OsString]) -> bool {
    let first = line.get(1).and_then(|word| word.to_str());
    first.is_some_and(|word| word.starts_with("--") && !matches!(word, "--" | "--help" | "--version"))
}

/// What stands on the command line.
struct Given {
    /// The flags, by their first name.
    flags: HashSet<String>,
    /// The value of [`CONFIG_FILE`].
    config_file: Option<OsString>,
}

/// Brings the words after the sub-command into the forms that clap reads, and says which flags are among them.
fn normalise(sub: &Command, first_flag: usize, line: &mut Vec<OsString>) -> Given {
    let words = line.split_off(first_flag);
    let mut given = Given { flags: HashSet::new(), config_file: None };
    let mut rest = words.into_iter().peekable();
    while let Some(word) = rest.next() {
        if word == "--" {
            line.push(word);
            break;
        }
        let parts = word.to_str().and_then(flag_of).map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        let Some((arg, name, value)) = parts.and_then(|(name, value)| find(sub, &name).map(|arg| (arg, name, value)))
        else {
            line.push(word);
            continue;
        };
        let next_is_bool = rest.peek().and_then(|word| word.to_str()).is_some_and(|word| parse_bool(word).is_ok());
        let value = match value {
            None if is_switch(arg) && next_is_bool => rest.next(),
            value => value.map(OsString::from),
        };
        let flag = first_name(arg).to_owned();
        if flag == CONFIG_FILE {
            given.config_file = value.clone().or_else(|| rest.peek().cloned());
        }
        given.flags.insert(flag);
        line.push(with_value(&name, value));
    }
    line.extend(rest);
    given
}

/// The name of a word that is a flag, and the value in it.
fn flag_of(word: &str) -> Option<(&str, Option<&str>)> {
    let flag = word.strip_prefix("--")?;
    Some(match flag.find(['=', ':']) {
        Some(at) => (&flag[..at], Some(&flag[at + 1..])),
        None => (flag, None),
    })
}

fn with_value(name: &str, value: Option<OsString>) -> OsString {
    let mut word = OsString::from(format!("--{name}"));
    if let Some(value) = value {
        word.push("=");
        word.push(value);
    }
    word
}

/// The flag of that name, or with that other name.
fn find<'a>(sub: &'a Command, name: &str) -> Option<&'a Arg> {
    sub.get_arguments().find(|arg| names(arg).any(|other| other == name))
}

/// All names of a flag, the first first; none of an argument that has no long one.
fn names(arg: &Arg) -> impl Iterator<Item = &str> {
    arg.get_long().into_iter().chain(arg.get_long().and_then(|_| arg.get_all_aliases()).unwrap_or_default())
}

fn first_name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// Has it a place in a file?
pub(super) fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|name| !NO_SETTINGS.contains(&name))
}

/// Is neither the flag nor one that excludes it among those that a better place has?
fn is_free(sub: &Command, arg: &Arg, taken: &HashSet<String>) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        sub.get_arg_conflicts_with(one).into_iter().any(|conflict| conflict.get_id() == other.get_id())
    };
    !taken
        .iter()
        .filter_map(|flag| find(sub, flag))
        .any(|other| other.get_id() == arg.get_id() || excludes(other, arg) || excludes(arg, other))
}

/// Takes it true or false, or nothing?
fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|count| count.min_values() == 0)
}

/// Takes it no value at all?
fn is_bare(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn refuse(message: impl std::fmt::Display) -> Error {
    Error::raw(ErrorKind::ValueValidation, format!("{message}\n"))
}

fn environment(
    sub: &Command,
    given: &HashSet<String>,
    var: &impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    for arg in sub.get_arguments().filter(|arg| is_free(sub, arg, given)) {
        let variables = PREFIXES.iter().flat_map(|prefix| {
            names(arg).map(move |name| format!("{prefix}{}", name.to_uppercase().replace('-', "_")))
        });
        let found = variables.into_iter().find_map(|variable| var(&variable).map(|value| (variable, value)));
        let Some((variable, value)) = found else { continue };
        // Compose files pass an empty text for what is not set; where a text is the default, it is one.
        if value.is_empty() && arg.get_default_values().is_empty() {
            continue;
        }
        let value = if is_list(arg) { list(&variable, &value)? } else { Value::One(value) };
        settings.push(Setting { flag: first_name(arg).to_owned(), value, origin: variable });
    }
    Ok(settings)
}

/// A JSON array, or one value.
fn list(variable: &str, value: &OsString) -> Result<Value, Error> {
    let text = value.to_str().ok_or_else(|| refuse(format_args!("{variable}: not a text in UTF-8")))?;
    if !text.trim_start().starts_with('[') {
        return Ok(Value::Many(vec![text.to_owned()]));
    }
    let no_list = || refuse(format_args!("{variable}: no JSON array of texts or numbers, such as [\"a\", \"b\"]"));
    let items: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|_| no_list())?;
    let item = |item| match item {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => Err(no_list()),
    };
    items.into_iter().map(item).collect::<Result<_, _>>().map(Value::Many)
}

impl Setting {
    /// The words that say the same on a command line.
    fn words(&self, sub: &Command) -> Result<Vec<OsString>, Error> {
        let flag = &self.flag;
        match &self.value {
            Value::Many(items) => Ok(items.iter().map(|item| with_value(flag, Some(item.into()))).collect()),
            Value::One(value) if find(sub, flag).is_some_and(is_bare) => {
                let on = value.to_str().and_then(|text| parse_bool(text).ok());
                let on = on.ok_or_else(|| refuse(format_args!("{}: give true or false", self.origin)))?;
                Ok(if on { vec![with_value(flag, None)] } else { Vec::new() })
            }
            Value::One(value) => Ok(vec![with_value(flag, Some(value.clone()))]),
        }
    }
}

/// Asks clap whether the flag takes the value.
fn check(command: &Command, path: &[String], words: &[OsString], origin: &str) -> Result<(), Error> {
    for word in words {
        let path = path.iter().map(OsString::from);
        let alone = iter::once(OsString::from("causeway")).chain(path).chain([word.clone()]);
        let Err(error) = command.clone().try_get_matches_from(alone) else { continue };
        // What else the sub-command needs is asked of the whole line.
        if !matches!(error.kind(), ErrorKind::MissingRequiredArgument) {
            let said = error.to_string();
            let said = said.strip_prefix("error: ").unwrap_or(&said);
            let said = said.split("\n\nFor more information").next().unwrap_or(said);
            return Err(refuse(format_args!("{origin}: {said}")));
        }
    }
    Ok(())
}

/// The flag that was perhaps meant.
fn similar(sub: &Command, name: &str) -> Option<String> {
    let error = sub.clone().try_get_matches_from(["causeway", &format!("--{name}=")]).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
