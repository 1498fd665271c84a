//! Names that were meant, for those that are not there.

/// The names among `known` that are near `wrong`, nearest first, at most three.
pub(crate) fn near<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut found: Vec<_> = known
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let distance = distance(&wrong, &lower);
            let related = wrong.len() >= 3 && (lower.contains(&wrong) || wrong.contains(&lower));
            // A third of the letters may be wrong.
            let near = distance <= wrong.chars().count().max(3) / 3;
            (near || related).then_some((distance, name))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// `; did you mean …?` with what is near, or else what there is, or nothing where there is nothing.
pub(crate) fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str> + Clone, what: &str) -> String {
    const SHOWN: usize = 12;
    let list = |names: &[&str], last: &str| {
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        match &quoted[..] {
            [] => String::new(),
            [one] => one.clone(),
            [some @ .., end] => format!("{} {last} {end}", some.join(", ")),
        }
    };
    let near = near(wrong, known.clone());
    if !near.is_empty() {
        return format!("; did you mean {}?", list(&near, "or"));
    }
    let all: Vec<_> = known.into_iter().take(SHOWN + 1).collect();
    match all.len() {
        0 => format!("; there are no {what}"),
        n if n > SHOWN => {
            format!("; {what} are {}, …", all[..SHOWN].iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "))
        }
        _ => format!("; {what} are {}", list(&all, "and")),
    }
}

/// How many letters to add, drop, change or swap with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_swaps_once() {
        let pairs = [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("form", "from", 1), ("é", "e", 1)];
        for (a, b, expected) in pairs {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_was_meant_comes_first_and_strangers_do_not() {
        let known = ["distance_miles", "count_rows", "drop_nulls", "distance_km"];
        assert_eq!(near("distnace_miles", known), ["distance_miles"]);
        assert_eq!(near("DISTANCE", known), ["distance_km", "distance_miles"]);
        assert!(near("explode", known).is_empty());
    }

    #[test]
    fn a_suggestion_says_what_there_is_when_nothing_is_near() {
        assert_eq!(suggest("lat", ["lat1", "lon1"], "columns"), "; did you mean `lat1`?");
        assert_eq!(suggest("zebra", ["lat1", "lon1"], "columns"), "; columns are `lat1` and `lon1`");
        assert_eq!(suggest("zebra", [], "columns"), "; there are no columns");
    }
}
