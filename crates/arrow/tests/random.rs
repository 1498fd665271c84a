//! Random schemas, random data, random cuts (C9).

mod support;

use anyudf_arrow::Encoder;
use arrow_schema::{DataType, UnionMode};
use proptest::prelude::*;
use proptest::sample::select;
use support::*;

/// A type up to three levels deep.
fn any_type() -> impl Strategy<Value = DataType> {
    let flat = select(flat_types());
    flat.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        let not_dictionary = inner
            .clone()
            .prop_filter("a dictionary of dictionaries", |inner| !matches!(inner, DataType::Dictionary(..)));
        prop_oneof![
            inner.clone().prop_map(list),
            inner.clone().prop_map(|item| DataType::new_large_list(item, true)),
            (inner.clone(), 0..4).prop_map(|(item, size)| DataType::new_fixed_size_list(item, size, true)),
            inner.clone().prop_map(|item| match list(item) {
                DataType::List(item) => DataType::ListView(item),
                other => other,
            }),
            several.clone().prop_map(|types| structure(&types)),
            several.clone().prop_map(|types| union(&types, UnionMode::Sparse)),
            several.prop_map(|types| union(&types, UnionMode::Dense)),
            inner.clone().prop_map(|value| map(DataType::Int32, value)),
            inner.prop_map(|values| run_ends(DataType::Int32, values)),
            (select(vec![DataType::Int8, DataType::UInt32]), not_dictionary)
                .prop_map(|(keys, values)| dictionary(keys, values)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    /// C9: any batch, cut anywhere, comes back from any address.
    #[test]
    fn any_batch_comes_back(
        types in prop::collection::vec(any_type(), 1..4),
        seed: u64,
        rows in 0usize..60,
        cut in (0.0..1.0, 0.0..1.0),
        shift in 0usize..64,
    ) {
        let batch = Random(seed).batch(&types, rows);
        let start = (cut.0 * rows as f64) as usize;
        let slice = batch.slice(start, (cut.1 * (rows - start) as f64) as usize);
        for batch in [batch, slice] {
            let bytes = encode(&batch).into_bytes();
            same(&decoder(&batch.schema()).decode(shifted(&bytes, shift)).unwrap()[0], &batch);
        }
    }

    /// C9: the messages of a batch, put together, are the batch, whatever the limit.
    #[test]
    fn any_split_adds_up(types in prop::collection::vec(any_type(), 1..3), seed: u64, max in 600usize..6_000) {
        let batch = Random(seed).batch(&types, 100);
        let encoder = Encoder::new(batch.schema(), max).unwrap();
        let mut decoder = decoder(&batch.schema());
        let mut next = 0;
        for message in encoder.encode(&batch) {
            // A row of nested types may be longer than the smallest of these limits.
            let Ok(message) = message else { return Ok(()) };
            prop_assert!(message.len() <= max);
            let rows = message.rows;
            same(&decoder.decode(message.into_bytes()).unwrap()[0], &batch.slice(next, rows));
            next += rows;
        }
        prop_assert_eq!(next, batch.num_rows());
    }
}
