//! The body of a batch, turned into arrays without copying it.
//!
//! A batch's flatbuffer lists a node for each column and the place of each of its buffers. [`Body`] hands them out in
//! the order of the format and lets none pass that does not fit: ranges, counts and sizes are checked here, contents
//! in [`validate`](crate::validate), the rest by arrow's own constructors (C10). A buffer is copied only if it starts
//! at an address that its type cannot be read from.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{self, ArrowDictionaryKeyType, ByteArrayType, ByteViewType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, GenericByteArray, GenericByteViewArray, GenericListArray,
    GenericListViewArray, MapArray, NullArray, OffsetSizeTrait, PrimitiveArray, StructArray, UnionArray, make_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::{ArrayData, ArrayDataBuilder, BufferSpec};
use arrow_ipc::{self as ipc, MetadataVersion};
use arrow_schema::{DataType, FieldRef, Fields, UnionFields, UnionMode};
use bytes::Bytes;

use crate::column::{Column, same_type};
use crate::dictionaries::Dictionaries;
use crate::error::{Error, Result};
use crate::inflate::{Budget, Inflater};
use crate::validate;

/// What is left to read of a batch.
pub(crate) struct Body<'a> {
    data: Buffer,
    version: MetadataVersion,
    nodes: flatbuffers::VectorIter<'a, ipc::FieldNode>,
    buffers: flatbuffers::VectorIter<'a, ipc::Buffer>,
    /// How many data buffers each view column has.
    variadic: flatbuffers::VectorIter<'a, i64>,
    inflater: Option<Inflater>,
    budget: &'a mut Budget,
    dictionaries: &'a Dictionaries,
}

/// A node of the flatbuffer, checked.
#[derive(Clone, Copy)]
struct Node {
    rows: usize,
    nulls: usize,
}

impl<'a> Body<'a> {
    pub(crate) fn new(
        batch: ipc::RecordBatch<'a>,
        version: MetadataVersion,
        data: Bytes,
        budget: &'a mut Budget,
        dictionaries: &'a Dictionaries,
    ) -> Result<Self> {
        let inflater = match batch.compression() {
            None => None,
            Some(how) if how.method() != ipc::BodyCompressionMethod::BUFFER => {
                return Err(Error::unsupported(format!("compression method {:?}; BUFFER is read", how.method())));
            }
            Some(how) => Some(Inflater::new(how.codec())?),
        };
        Ok(Body {
            data: Buffer::from(data),
            version,
            nodes: batch.nodes().unwrap_or_default().iter(),
            buffers: batch.buffers().unwrap_or_default().iter(),
            variadic: batch.variadicBufferCounts().unwrap_or_default().iter(),
            inflater,
            budget,
            dictionaries,
        })
    }

    /// Reads one array for each column, each `rows` long, and makes sure that nothing is left over.
    pub(crate) fn arrays(mut self, columns: &[Column], rows: i64) -> Result<(Vec<ArrayRef>, usize)> {
        let rows = usize::try_from(rows).map_err(|_| Error::malformed(format!("a batch claims {rows} rows")))?;
        self.budget.charge(rows.div_ceil(8))?;
        let mut arrays = Vec::with_capacity(columns.len());
        for column in columns {
            let array = self.column(column)?;
            if array.len() != rows {
                let text = format!("{} rows in a batch of {rows} rows", array.len());
                return Err(Error::malformed(text).within(column.field.name()));
            }
            arrays.push(array);
        }
        match (self.nodes.len(), self.buffers.len(), self.variadic.next()) {
            (0, 0, None) => Ok((arrays, rows)),
            (nodes, buffers, _) => Err(Error::malformed(format!(
                "the batch lists {nodes} nodes and {buffers} buffers more than the schema's columns have",
            ))),
        }
    }

    fn column(&mut self, column: &Column) -> Result<ArrayRef> {
        self.array(column).map_err(|error| error.within(column.field.name()))
    }

    fn array(&mut self, column: &Column) -> Result<ArrayRef> {
        use DataType as T;
        let node = self.node()?;
        match column.field.data_type() {
            T::Null => Ok(Arc::new(NullArray::new(node.rows))),
            T::Boolean => {
                let nulls = self.validity(node)?;
                Ok(Arc::new(BooleanArray::new(self.bits(node.rows)?, nulls)))
            }
            T::Utf8 => self.bytes::<types::Utf8Type>(node, true),
            T::LargeUtf8 => self.bytes::<types::LargeUtf8Type>(node, true),
            T::Binary => self.bytes::<types::BinaryType>(node, false),
            T::LargeBinary => self.bytes::<types::LargeBinaryType>(node, false),
            T::Utf8View => self.views::<types::StringViewType>(node, true),
            T::BinaryView => self.views::<types::BinaryViewType>(node, false),
            T::List(item) => self.list::<i32>(node, item, column),
            T::LargeList(item) => self.list::<i64>(node, item, column),
            T::ListView(item) => self.list_view::<i32>(node, item, column),
            T::LargeListView(item) => self.list_view::<i64>(node, item, column),
            T::Map(entries, sorted) => self.map(node, entries, *sorted, column),
            T::Struct(fields) => self.structure(node, fields, column),
            T::Union(fields, mode) => self.union(node, fields, *mode, column),
            T::Dictionary(keys, _) => match **keys {
                T::Int8 => self.dictionary::<types::Int8Type>(node, column),
                T::Int16 => self.dictionary::<types::Int16Type>(node, column),
                T::Int32 => self.dictionary::<types::Int32Type>(node, column),
                T::Int64 => self.dictionary::<types::Int64Type>(node, column),
                T::UInt8 => self.dictionary::<types::UInt8Type>(node, column),
                T::UInt16 => self.dictionary::<types::UInt16Type>(node, column),
                T::UInt32 => self.dictionary::<types::UInt32Type>(node, column),
                T::UInt64 => self.dictionary::<types::UInt64Type>(node, column),
                ref other => Err(Error::unsupported(format!("dictionary keys of type {other}"))),
            },
            T::FixedSizeList(_, size) => {
                // Arrow multiplies the two without looking.
                if usize::try_from(*size).ok().and_then(|size| size.checked_mul(node.rows)).is_none() {
                    return Err(Error::malformed(format!("{} lists of {size} values each", node.rows)));
                }
                let nulls = self.validity(node)?;
                let values = self.column(&column.children[0])?;
                build(self.data_of(node, column).nulls(nulls).add_child_data(values.to_data()))
            }
            T::RunEndEncoded(..) => {
                let children = column.children.iter().map(|child| self.column(child)).collect::<Result<Vec<_>>>()?;
                let children = children.iter().map(|child| child.to_data()).collect();
                build(self.data_of(node, column).child_data(children))
            }
            // Numbers, dates, decimals and fixed-size binary: one buffer of values of one width.
            data_type => {
                let layout = arrow_data::layout(data_type);
                let [BufferSpec::FixedWidth { byte_width, alignment }] = layout.buffers[..] else {
                    return Err(Error::unsupported(format!("columns of type {data_type}")));
                };
                let nulls = self.validity(node)?;
                let values = self.fixed(node.rows, byte_width, alignment)?;
                build(self.data_of(node, column).nulls(nulls).add_buffer(values))
            }
        }
    }

    fn data_of(&self, node: Node, column: &Column) -> ArrayDataBuilder {
        ArrayData::builder(column.field.data_type().clone()).len(node.rows)
    }

    fn bytes<T: ByteArrayType>(&mut self, node: Node, strings: bool) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let offsets = self.buffer()?;
        let values = self.buffer()?;
        let offsets = checked_offsets::<T::Offset>(offsets, node.rows, values.len())?;
        if strings {
            validate::utf8(&offsets, &values)?;
        }
        // SAFETY: the offsets ascend within the values, and what they cut out is UTF-8 if `T` is a type of strings:
        // both were checked just now. The validity, if any, was made for as many rows as there are offsets but one.
        Ok(Arc::new(unsafe { GenericByteArray::<T>::new_unchecked(offsets, values, nulls) }))
    }

    fn views<T: ByteViewType>(&mut self, node: Node, strings: bool) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let views = ScalarBuffer::<u128>::from(self.fixed(node.rows, size_of::<u128>(), align_of::<u128>())?);
        let count =
            self.variadic.next().ok_or_else(|| Error::malformed("the batch lacks its count of data buffers"))?;
        let count = usize::try_from(count).ok().filter(|count| *count <= self.buffers.len()).ok_or_else(|| {
            Error::malformed(format!("{count} data buffers claimed, {} are listed", self.buffers.len()))
        })?;
        let buffers = (0..count).map(|_| self.buffer()).collect::<Result<Vec<_>>>()?;
        validate::views(&views, &buffers, strings)?;
        // SAFETY: every view lies inside its buffer, repeats its prefix and is UTF-8 if `T` is a type of strings: all
        // checked just now. The validity, if any, was made for as many rows as there are views.
        Ok(Arc::new(unsafe { GenericByteViewArray::<T>::new_unchecked(views, buffers, nulls) }))
    }

    fn list<O: OffsetSizeTrait>(&mut self, node: Node, item: &FieldRef, column: &Column) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let offsets = self.buffer()?;
        let values = self.column(&column.children[0])?;
        let offsets = checked_offsets::<O>(offsets, node.rows, values.len())?;
        finish(GenericListArray::try_new(item.clone(), offsets, values, nulls))
    }

    fn list_view<O: OffsetSizeTrait>(&mut self, node: Node, item: &FieldRef, column: &Column) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let offsets = ScalarBuffer::<O>::from(self.fixed(node.rows, size_of::<O>(), align_of::<O>())?);
        let sizes = ScalarBuffer::<O>::from(self.fixed(node.rows, size_of::<O>(), align_of::<O>())?);
        let values = self.column(&column.children[0])?;
        finish(GenericListViewArray::try_new(item.clone(), offsets, sizes, values, nulls))
    }

    fn map(&mut self, node: Node, entries: &FieldRef, sorted: bool, column: &Column) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let offsets = self.buffer()?;
        let values = self.column(&column.children[0])?;
        let offsets = checked_offsets::<i32>(offsets, node.rows, values.len())?;
        let Some(values) = values.as_struct_opt() else {
            return Err(Error::unsupported("a map whose entries are not a struct"));
        };
        finish(MapArray::try_new(entries.clone(), offsets, values.clone(), nulls, sorted))
    }

    fn structure(&mut self, node: Node, fields: &Fields, column: &Column) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let children = column.children.iter().map(|child| self.column(child)).collect::<Result<Vec<_>>>()?;
        finish(StructArray::try_new_with_length(fields.clone(), children, nulls, node.rows))
    }

    fn union(&mut self, node: Node, fields: &UnionFields, mode: UnionMode, column: &Column) -> Result<ArrayRef> {
        if self.version < MetadataVersion::V5 {
            // Unions had a validity of their own in version 4. It has no place in arrow's arrays, nor has a null in it.
            self.buffer()?;
            if node.nulls > 0 {
                return Err(Error::unsupported("nulls in a union's own validity (metadata version 4)"));
            }
        }
        let ids = ScalarBuffer::<i8>::from(self.fixed(node.rows, 1, 1)?);
        let offsets = match mode {
            UnionMode::Sparse => None,
            UnionMode::Dense => Some(self.fixed(node.rows, size_of::<i32>(), align_of::<i32>())?.into()),
        };
        let children = column.children.iter().map(|child| self.column(child)).collect::<Result<Vec<_>>>()?;
        finish(UnionArray::try_new(fields.clone(), ids, offsets, children))
    }

    fn dictionary<K: ArrowDictionaryKeyType>(&mut self, node: Node, column: &Column) -> Result<ArrayRef> {
        let nulls = self.validity(node)?;
        let keys = self.fixed(node.rows, size_of::<K::Native>(), align_of::<K::Native>())?;
        let keys = PrimitiveArray::<K>::try_new(keys.into(), nulls).map_err(Error::invalid)?;
        let id = column.dictionary.expect("every dictionary is numbered");
        let values_type = column.children[0].field.data_type();
        let values = match self.dictionaries.values(id) {
            Some(values) if same_type(values.data_type(), values_type) => values.clone(),
            Some(values) => {
                let found = values.data_type();
                return Err(Error::malformed(format!(
                    "dictionary {id} holds {found}, this column needs {values_type}"
                )));
            }
            // The format lets a writer leave out the dictionary of a column that has only nulls.
            None => arrow_array::new_empty_array(values_type),
        };
        if validate::keys(keys.values(), values.len()) {
            // SAFETY: every key is the index of a value, checked just now.
            return Ok(Arc::new(unsafe { DictionaryArray::<K>::new_unchecked(keys, values) }));
        }
        // A key is out of range. Under a null that is fine; arrow looks at each.
        finish(DictionaryArray::<K>::try_new(keys, values)).map_err(|error| match self.dictionaries.values(id) {
            Some(_) => error,
            None => Error::malformed(format!("no DictionaryBatch for dictionary {id} came before its keys")),
        })
    }

    fn node(&mut self) -> Result<Node> {
        let node = self.nodes.next().ok_or_else(|| Error::malformed("the batch lists fewer nodes than columns"))?;
        let (length, nulls) = (node.length(), node.null_count());
        let checked = usize::try_from(length).ok().zip(usize::try_from(nulls).ok());
        let (rows, nulls) = checked
            .filter(|(rows, nulls)| nulls <= rows)
            .ok_or_else(|| Error::malformed(format!("a node claims {length} rows of which {nulls} are null")))?;
        // Rows need not have bytes, so they are charged as the bitmap that somebody may make of them.
        self.budget.charge(rows.div_ceil(8))?;
        Ok(Node { rows, nulls })
    }

    /// The next buffer, inflated if the body is compressed.
    fn buffer(&mut self) -> Result<Buffer> {
        let place =
            self.buffers.next().ok_or_else(|| Error::malformed("the batch lists fewer buffers than columns"))?;
        let (offset, length) = (place.offset(), place.length());
        if length == 0 {
            return Ok(Buffer::default());
        }
        let range = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok())
            .filter(|(offset, length)| offset.checked_add(*length).is_some_and(|end| end <= self.data.len()));
        let (start, length) = range.ok_or_else(|| {
            let size = self.data.len();
            Error::malformed(format!("a buffer of {length} bytes at offset {offset}, in a body of {size} bytes"))
        })?;
        let raw = self.data.slice_with_length(start, length);
        match &mut self.inflater {
            Some(inflater) => inflater.inflate(raw, self.budget),
            None => {
                // Buffers may overlap, so even these can add up to more than the message.
                self.budget.charge(length)?;
                Ok(raw)
            }
        }
    }

    /// The next buffer, cut to `rows` values of `width` bytes that can be read where they are.
    fn fixed(&mut self, rows: usize, width: usize, alignment: usize) -> Result<Buffer> {
        fit(self.buffer()?, rows, width, alignment)
    }

    fn bits(&mut self, rows: usize) -> Result<BooleanBuffer> {
        let buffer = self.buffer()?;
        if buffer.len() < rows.div_ceil(8) {
            return Err(Error::malformed(format!("{rows} bits in a buffer of {} bytes", buffer.len())));
        }
        Ok(BooleanBuffer::new(buffer, 0, rows))
    }

    fn validity(&mut self, node: Node) -> Result<Option<NullBuffer>> {
        if node.nulls == 0 {
            self.buffer()?;
            return Ok(None);
        }
        let nulls = NullBuffer::new(self.bits(node.rows)?);
        if nulls.null_count() != node.nulls {
            let counted = nulls.null_count();
            return Err(Error::malformed(format!("{} nulls claimed, the bitmap has {counted}", node.nulls)));
        }
        Ok(Some(nulls))
    }
}

/// Cuts `buffer` to `rows` values of `width` bytes. Copies it if it starts where such values cannot be read.
fn fit(buffer: Buffer, rows: usize, width: usize, alignment: usize) -> Result<Buffer> {
    let needed = rows.checked_mul(width).filter(|needed| *needed <= buffer.len()).ok_or_else(|| {
        Error::malformed(format!("{rows} values of {width} bytes in a buffer of {} bytes", buffer.len()))
    })?;
    let buffer = if needed == buffer.len() { buffer } else { buffer.slice_with_length(0, needed) };
    Ok(if buffer.as_ptr().align_offset(alignment) == 0 { buffer } else { Buffer::from(buffer.as_slice()) })
}

/// `rows + 1` offsets into values that end at `limit`, checked.
fn checked_offsets<O: OffsetSizeTrait>(buffer: Buffer, rows: usize, limit: usize) -> Result<OffsetBuffer<O>> {
    if rows == 0 && buffer.is_empty() {
        // The format lets a column without rows go without its one offset.
        return Ok(OffsetBuffer::new_empty());
    }
    let count = rows.checked_add(1).ok_or_else(|| Error::malformed("too many rows"))?;
    let offsets = ScalarBuffer::<O>::from(fit(buffer, count, size_of::<O>(), align_of::<O>())?);
    validate::offsets(&offsets, limit)?;
    // SAFETY: at least one offset, none negative, none smaller than the one before: checked just now.
    Ok(unsafe { OffsetBuffer::new_unchecked(offsets) })
}

fn build(data: ArrayDataBuilder) -> Result<ArrayRef> {
    Ok(make_array(data.build().map_err(Error::invalid)?))
}

fn finish<A: Array + 'static>(array: Result<A, arrow_schema::ArrowError>) -> Result<ArrayRef> {
    Ok(Arc::new(array.map_err(Error::invalid)?))
}
