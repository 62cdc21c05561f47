//! Flags with lists, read as pflag's `stringSlice` does, so that values of stakater/Reloader's charts go on working:
//! each occurrence is one record of CSV (RFC 4180), and more of them append.

/// What one occurrence of a flag lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// Reads one occurrence, element by element. Surrounding spaces and empty elements mean nothing.
pub(super) fn names<T>(
    text: &str,
    name: impl Fn(&str) -> Result<T, String>,
) -> Result<List<T>, String> {
    let elements = record(text)?;
    let elements = elements.iter().map(|element| element.trim());
    let named = elements.filter(|element| !element.is_empty()).map(name);
    named.collect::<Result<_, _>>().map(List)
}

/// Reads one occurrence as it is.
pub(super) fn record(text: &str) -> Result<List<String>, String> {
    let mut fields = Vec::new();
    let mut rest = (!text.is_empty()).then_some(text);
    while let Some(text) = rest {
        let (field, after) = match text.strip_prefix('"') {
            Some(text) => quoted(text)?,
            None => plain(text)?,
        };
        fields.push(field);
        rest = after;
    }
    Ok(List(fields))
}

type Field<'a> = (String, Option<&'a str>);

fn plain(text: &str) -> Result<Field<'_>, String> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if field.contains('"') {
        return Err(
            "a quote belongs around a whole element, or twice into a quoted one".to_owned(),
        );
    }
    Ok((field.to_owned(), after))
}

fn quoted(text: &str) -> Result<Field<'_>, String> {
    let (mut field, mut text) = (String::new(), text);
    loop {
        let (part, after) = text
            .split_once('"')
            .ok_or("a quote that begins an element has to end it, too")?;
        field.push_str(part);
        match after.chars().next() {
            None => return Ok((field, None)),
            Some(',') => return Ok((field, after.get(1..))),
            Some('"') => {
                field.push('"');
                text = after.get(1..).unwrap_or_default();
            }
            Some(_) => return Err("after a quoted element belongs a comma".to_owned()),
        }
    }
}

impl<T> List<T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// All that the occurrences of a flag list.
pub(super) fn all<T>(occurrences: &[List<T>]) -> impl Iterator<Item = &T> {
    occurrences.iter().flat_map(List::iter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occurrence_is_one_record_of_csv() {
        let cases: [(&str, &[&str]); 11] = [
            ("", &[]),
            ("env=test", &["env=test"]),
            ("\"env=test\"", &["env=test"]),
            ("\"a=b,c=d\"", &["a=b,c=d"]),
            ("key in (v1,v2)", &["key in (v1", "v2)"]),
            ("a, b", &["a", " b"]),
            ("a,", &["a", ""]),
            (",", &["", ""]),
            ("\"a\"\"b\",c", &["a\"b", "c"]),
            ("\"\"", &[""]),
            ("a,\"b\",", &["a", "b", ""]),
        ];
        for (text, expected) in cases {
            assert_eq!(record(text).unwrap().0, expected, "{text:?}");
        }
        for bad in ["a\"b", " \"a\"", "\"a", "\"a\"b", "\"a\" ,b", "a,b\""] {
            assert!(record(bad).unwrap_err().contains("quote"), "{bad:?}");
        }
    }

    #[test]
    fn names_are_what_is_left_without_spaces_and_empty_ones() {
        let name = |text: &str| match text {
            "bad" => Err("bad".to_owned()),
            name => Ok(name.to_owned()),
        };
        assert_eq!(names(" a,,\"b \",\n", name).unwrap().0, ["a", "b"]);
        assert_eq!(names("", name), Ok(List::default()));
        assert_eq!(names("a,bad", name), Err("bad".to_owned()));
    }
}
