//! The file of flags: flat TOML, whose keys are flags without their dashes. Values have their own types: texts in quotes,
//! numbers and true or false without, lists in brackets. At most [`MAX_FILE_BYTES`] are read.

use std::{fs::File, io::Read, ops::Range, path::Path};

use clap::{Arg, Command, Error};
use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{Setting, Value, find, first_name, is_bare, is_list, is_setting, is_switch, refuse, similar};

/// Longest file read, in bytes: a thousand static peers are a tenth of it.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The flags of a file.
pub(super) fn read(sub: &Command, path: &Path) -> Result<Vec<Setting>, Error> {
    let name = path.display().to_string();
    let unreadable = |cause: &dyn std::fmt::Display| refuse(format_args!("--config-file {name}: {cause}"));
    let mut text = String::new();
    let mut file = File::open(path).map_err(|cause| unreadable(&cause))?.take(MAX_FILE_BYTES + 1);
    file.read_to_string(&mut text).map_err(|cause| unreadable(&cause))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(&format_args!("it is over {MAX_FILE_BYTES} bytes long")));
    }
    settings(sub, &name, &text)
}

/// The flags of a text, in its order.
pub(super) fn settings(sub: &Command, name: &str, text: &str) -> Result<Vec<Setting>, Error> {
    let at = |span: Range<usize>| {
        let line = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1;
        format!("{name}, line {line}")
    };
    let table = DeTable::parse(text).map_err(|cause| {
        let place = cause.span().map_or_else(|| name.to_owned(), &at);
        refuse(format_args!("{place}: {}", cause.message()))
    })?;
    let mut entries: Vec<_> = table.into_inner().into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut settings: Vec<Setting> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let origin = at(key.span());
        let arg = flag(sub, key.as_ref()).map_err(|cause| refuse(format_args!("{origin}: {cause}")))?;
        let flag = first_name(arg).to_owned();
        if settings.iter().any(|setting| setting.flag == flag) {
            return Err(refuse(format_args!("{origin}: {} is --{flag}, which stands above already", key.as_ref())));
        }
        let value =
            setting(arg, &value).map_err(|cause| refuse(format_args!("{origin}: {}: {cause}", key.as_ref())))?;
        settings.push(Setting { flag, value, origin });
    }
    Ok(settings)
}

fn flag<'a>(sub: &'a Command, key: &str) -> Result<&'a Arg, String> {
    match find(sub, key) {
        Some(arg) if is_setting(arg) => Ok(arg),
        Some(_) => Err(format!("{key} has no place in a file")),
        None => {
            let meant = similar(sub, key).map_or_else(String::new, |flag| format!(". Perhaps {flag} is meant"));
            Err(format!("{key} is no flag of `causeway {}`{meant}", sub.get_name()))
        }
    }
}

fn setting(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    match value.as_ref() {
        DeValue::Array(_) if !is_list(arg) => Err("takes one value, not a list".into()),
        DeValue::Array(items) => {
            items.iter().map(|item| text(arg, item.as_ref())).collect::<Result<_, _>>().map(Value::Many)
        }
        one if is_list(arg) => text(arg, one).map(|text| Value::Many(vec![text])),
        one => text(arg, one).map(|text| Value::One(text.into())),
    }
}

/// What would stand on a command line.
fn text(arg: &Arg, value: &DeValue<'_>) -> Result<String, String> {
    match (value, is_switch(arg) || is_bare(arg)) {
        (DeValue::Boolean(on), true) => Ok(on.to_string()),
        (_, true) => Err(format!("takes true or false, not a {}", value.type_str())),
        (DeValue::String(text), false) => Ok(text.to_string()),
        (DeValue::Integer(number), false) => decimal(number),
        (DeValue::Float(number), false) => Ok(number.as_str().to_owned()),
        (_, false) => Err(format!("takes a text in quotes or a number, not a {}", value.type_str())),
    }
}

fn decimal(number: &DeInteger<'_>) -> Result<String, String> {
    let value = i64::from_str_radix(number.as_str(), number.radix());
    value.map(|value| value.to_string()).map_err(|_| format!("{number} is too large a number"))
}
