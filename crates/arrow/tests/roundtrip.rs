//! There and back, for every type (C9).

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use anyudf_arrow::{Decoder, Encoder, Kind, Limits, decode_schema, encode_schema};
use arrow_array::cast::AsArray;
use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, ListViewArray, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, StringViewArray,
};
use arrow_schema::{DataType, Field, Schema};
use support::*;

/// C9: every type, whole and in slices that start and end anywhere, from any address.
#[test]
fn every_type_comes_back() {
    for (seed, data_type) in flat_types().into_iter().chain(nested_types()).enumerate() {
        for rows in [0, 1, 9, 77] {
            let batch = Random(seed as u64).batch(std::slice::from_ref(&data_type), rows);
            for (start, length) in
                [(0, rows), (0, 0), (rows, 0), (0, rows / 2), (1, rows / 3), (3, rows / 2), (8, rows / 2)]
            {
                if start + length <= rows {
                    roundtrip(&batch.slice(start, length));
                }
            }
        }
    }
}

/// C9: all of them side by side, so that nodes and buffers of one column are never taken for another's.
#[test]
fn every_type_in_one_batch() {
    let types = flat_types().into_iter().chain(nested_types()).collect::<Vec<_>>();
    let batch = Random(7).batch(&types, 50);
    roundtrip(&batch);
    roundtrip(&batch.slice(13, 30));
    // A slice of a slice.
    roundtrip(&batch.slice(13, 30).slice(2, 9));
}

/// C9: rows without columns are counted all the same.
#[test]
fn rows_without_columns() {
    for rows in [0, 1, 10_000] {
        roundtrip(&Random(0).batch(&[], rows));
    }
}

/// C9: what large buffers a message has are those of the batch, not copies.
#[test]
fn large_buffers_are_not_copied() {
    let numbers = Int32Array::from_iter_values(0..100_000);
    let text = StringArray::from_iter_values((0..100_000).map(|i| i.to_string()));
    let places = [numbers.values().inner().as_ptr(), text.offsets().inner().inner().as_ptr(), text.values().as_ptr()];
    let columns: [(&str, ArrayRef); 2] = [("n", Arc::new(numbers)), ("t", Arc::new(text))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();

    let encoded = encode(&batch);
    let parts = encoded.parts.iter().map(|part| part.as_ptr()).collect::<Vec<_>>();
    for place in places {
        assert!(parts.contains(&place));
    }
    // And in: they are slices of the message.
    let bytes = shifted(&encoded.into_bytes(), 0);
    let (start, end) = (bytes.as_ptr() as usize, bytes.as_ptr() as usize + bytes.len());
    let decoded = decoder(&batch.schema()).decode(bytes).unwrap().remove(0);
    for column in decoded.columns() {
        for buffer in column.to_data().buffers() {
            assert!((start..end).contains(&(buffer.as_ptr() as usize)));
        }
    }
}

/// C9: a message laid out for the place that it has at its reader is not copied there, whatever is in it.
#[test]
fn nothing_is_copied_at_the_lead_that_was_reckoned_with() {
    let types = flat_types().into_iter().chain(nested_types()).collect::<Vec<_>>();
    for lead in [0, 8, 24, 40, 104] {
        let batch = Random(11).batch(&types, 40);
        let encoder = Encoder::new(batch.schema(), usize::MAX).unwrap().with_lead(lead);
        let encoded = encoder.encode(&batch).next().unwrap().unwrap();
        let length = encoded.len();
        let bytes = shifted(&encoded.into_bytes(), lead);
        assert_eq!(bytes.len(), length, "the length is known before");
        let (start, end) = (bytes.as_ptr() as usize, bytes.as_ptr() as usize + bytes.len());
        let decoded = decoder(&batch.schema()).decode(bytes).unwrap().remove(0);
        same(&decoded, &batch);
        for (column, data_type) in decoded.columns().iter().zip(&types) {
            for buffer in column.to_data().buffers().iter().filter(|buffer| !buffer.is_empty()) {
                let place = buffer.as_ptr() as usize;
                assert!((start..end).contains(&place), "{data_type} was copied at a lead of {lead}");
            }
        }
    }
}

/// C9: misaligned text is left where it is; only numbers and offsets move.
#[test]
fn misaligned_text_is_not_copied() {
    let text = StringArray::from_iter_values((0..1000).map(|i| i.to_string()));
    let batch = RecordBatch::try_from_iter([("t", Arc::new(text) as ArrayRef)]).unwrap();
    let bytes = shifted(&encode(&batch).into_bytes(), 3);
    let (start, end) = (bytes.as_ptr() as usize, bytes.as_ptr() as usize + bytes.len());
    let decoded = decoder(&batch.schema()).decode(bytes).unwrap().remove(0);
    let data = decoded.column(0).to_data();
    assert!(!(start..end).contains(&(data.buffers()[0].as_ptr() as usize)));
    assert!((start..end).contains(&(data.buffers()[1].as_ptr() as usize)));
}

/// C9: what a slice cut off is not sent.
#[test]
fn the_rest_of_a_slice_stays_behind() {
    // The lists of a view lie anywhere in these arrays; of those the stretch that they cover is sent.
    let anywhere = |data_type: &DataType| matches!(data_type, DataType::ListView(_) | DataType::LargeListView(_));
    for data_type in flat_types().into_iter().chain(nested_types()).filter(|data_type| !anywhere(data_type)) {
        let batch = Random(1).batch(std::slice::from_ref(&data_type), 20_000);
        let length = encode(&batch.slice(9_001, 5)).len();
        assert!(length < 12_000, "5 rows of {data_type} take {length} bytes");
    }
}

/// C9: list views whose lists follow one another are cut like lists.
#[test]
fn list_views_are_cut_to_what_they_cover() {
    let lists = Random(2).array(&list(DataType::Int64), 20_000, true);
    let views: ListViewArray = lists.as_list::<i32>().clone().into();
    let batch = RecordBatch::try_from_iter([("v", Arc::new(views.slice(9_001, 5)) as ArrayRef)]).unwrap();
    assert!(encode(&batch).len() < 1_500);
    roundtrip(&batch);
}

/// C9: a view of a few long strings does not bring all the strings it was filtered from.
#[test]
fn views_leave_unused_strings_behind() {
    let strings =
        StringViewArray::from_iter_values((0..10_000).map(|i| format!("a string longer than twelve bytes: {i}")));
    let few = strings.slice(5_000, 10);
    let batch = RecordBatch::try_from_iter([("s", Arc::new(few) as ArrayRef)]).unwrap();
    assert!(encode(&batch).len() < 2_000);
    roundtrip(&batch);
}

/// C9: so does a dictionary.
#[test]
fn dictionaries_leave_unused_values_behind() {
    let values = StringArray::from_iter_values((0..20_000).map(|i| format!("value {i}")));
    let keys = Int32Array::from_iter((0..20_000).map(|i| (i % 7 > 0).then_some(i)));
    let array = DictionaryArray::new(keys, Arc::new(values)).slice(19_000, 10);
    let batch = RecordBatch::try_from_iter([("d", Arc::new(array) as ArrayRef)]).unwrap();
    assert!(encode(&batch).len() < 2_000);
    roundtrip(&batch);
}

/// C9: messages are self-contained: any of them can be read first.
#[test]
fn messages_are_self_contained() {
    let types =
        [dictionary(DataType::Int8, DataType::Utf8), list(dictionary(DataType::Int32, list(DataType::Utf8View)))];
    let first = Random(1).batch(&types, 40);
    let second = Random(2).batch_of(&first.schema(), 40);
    let [first_bytes, second_bytes] = [&first, &second].map(|batch| encode(batch).into_bytes());
    same(&decoder(&first.schema()).decode(second_bytes.clone()).unwrap()[0], &second);
    // And in one stream the later dictionary replaces the earlier.
    let mut decoder = decoder(&first.schema());
    same(&decoder.decode(first_bytes.clone()).unwrap()[0], &first);
    same(&decoder.decode(second_bytes.clone()).unwrap()[0], &second);
    let both = [first_bytes, second_bytes].concat();
    let decoded = decoder.decode(both.into()).unwrap();
    same(&decoded[0], &first);
    same(&decoded[1], &second);
}

/// C9: a column of nulls may come without its dictionary, but a key that is no null may not.
#[test]
fn nulls_need_no_dictionary() {
    let nulls: DictionaryArray<Int8Type> = [None::<&str>, None].into_iter().collect();
    let words: DictionaryArray<Int8Type> = ["a", "b"].into_iter().collect();
    for (array, fine) in [(nulls, true), (words, false)] {
        let batch = RecordBatch::try_from_iter([("d", Arc::new(array) as ArrayRef)]).unwrap();
        let bytes = encode(&batch).into_bytes();
        // Past the DictionaryBatch: the second message is the last.
        let last = (8..bytes.len()).rev().find(|i| bytes[*i..].starts_with(&[0xff; 4])).unwrap();
        let decoded = decoder(&batch.schema()).decode(bytes.slice(last..));
        assert_eq!(decoded.is_ok(), fine, "{decoded:?}");
    }
}

/// C9: the end-of-stream marker is tolerated, and so is a message without any batch.
#[test]
fn the_end_of_a_stream_is_tolerated() {
    let batch = Random(3).batch(&[DataType::Int32], 5);
    let marker = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let mut bytes = encode(&batch).into_bytes().to_vec();
    bytes.extend_from_slice(&marker);
    let mut decoder = decoder(&batch.schema());
    assert_eq!(decoder.decode(bytes.clone().into()).unwrap().len(), 1);
    assert!(decoder.decode(marker.to_vec().into()).unwrap().is_empty());
    assert!(decoder.decode(bytes::Bytes::new()).unwrap().is_empty());
    bytes.push(0);
    assert_eq!(decoder.decode(bytes.into()).unwrap_err().kind(), Kind::Malformed);
}

/// C9: schemas come back with their metadata, extension types among it, and the numbers of their dictionaries.
#[test]
fn schemas_come_back() {
    let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
    let uuid = Field::new("id", DataType::FixedSizeBinary(16), false).with_metadata(metadata);
    let types = flat_types().into_iter().chain(nested_types());
    let mut fields =
        types.enumerate().map(|(i, data_type)| Field::new(format!("c{i}"), data_type, i % 2 == 0)).collect::<Vec<_>>();
    fields.push(uuid);
    let schema = Schema::new_with_metadata(fields, HashMap::from([("écrit".to_owned(), "par nous".to_owned())]));
    let bytes = encode_schema(&schema);
    let decoded = decode_schema(&bytes).unwrap();
    assert_eq!(*decoded, schema);
    assert_eq!(encode_schema(&decoded), bytes);
    assert_eq!(*decode_schema(&encode_schema(&Schema::empty())).unwrap(), Schema::empty());
}

/// C9: dictionaries keep the numbers that the peer gave them, in both directions.
#[test]
fn dictionaries_keep_their_numbers() {
    #[allow(deprecated, reason = "the number is part of the wire")]
    let field = |name: &str, id| Field::new_dict(name, dictionary(DataType::Int8, DataType::Utf8), true, id, false);
    let theirs = Arc::new(Schema::new(vec![field("a", 40), field("b", 0), field("c", -7)]));
    let ours = decode_schema(&encode_schema(&theirs)).unwrap();
    let batch = Random(5).batch_of(&theirs, 30);
    let encoder = Encoder::new(ours, ROOMY).unwrap();
    let message = encoder.encode(&batch).next().unwrap().unwrap();
    same(&decoder(&theirs).decode(message.into_bytes()).unwrap()[0], &batch);
}

/// C9: a dictionary of a dictionary cannot be said in the format.
#[test]
fn refuses_a_dictionary_of_a_dictionary() {
    let twice = dictionary(DataType::Int8, dictionary(DataType::Int8, DataType::Utf8));
    let schema = Arc::new(Schema::new(vec![Field::new("d", list(twice), true)]));
    let error = Encoder::new(schema.clone(), ROOMY).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().starts_with("column \"d.item\": a dictionary of a dictionary"), "{error}");
    assert!(Decoder::new(schema, Limits::default()).is_err());
}

/// C9: a batch must have the encoder's types; names and metadata inside of lists are nobody's business.
#[test]
fn a_batch_must_have_the_schema() {
    let encoder = encoder(&Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int32, false),
        Field::new("b", DataType::new_list(DataType::Utf8, true), true),
    ])));
    let texts = Random(1).array(&DataType::new_list(DataType::Utf8, true), 2, true);
    let elements = {
        let element = Field::new("element", DataType::Utf8, true);
        Random(1).array(&DataType::List(Arc::new(element)), 2, true)
    };
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let holes: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let nothing: ArrayRef = Arc::new(NullArray::new(2));
    let encode = |columns: &[&ArrayRef]| {
        let fields = columns.iter().map(|column| Field::new("x", column.data_type().clone(), true)).collect::<Vec<_>>();
        let columns = columns.iter().map(|column| Arc::clone(column)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(2));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap();
        encoder.encode(&batch).map(|message| message.map(|message| message.rows)).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(encode(&[&numbers, &texts]).unwrap(), [2]);
    assert_eq!(encode(&[&numbers, &elements]).unwrap(), [2]);
    for (columns, text) in [
        (&[&numbers][..], "the batch has 1 columns, the schema 2"),
        (&[&numbers, &nothing], "column \"b\": the batch has Null, the schema List(Utf8)"),
        (&[&holes, &texts], "column \"a\": 1 nulls where the schema allows none"),
    ] {
        let error = encode(columns).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::SchemaMismatch, text));
    }
}
