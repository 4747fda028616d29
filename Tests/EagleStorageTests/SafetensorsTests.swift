import EagleStorage
import EagleTensor
import Foundation
import Testing

@Suite struct SafetensorsTests {
  /// A file from a header and data bytes.
  private func raw(_ header: String, data: Data, length: UInt64? = nil) -> Data {
    let text = Data(header.utf8)
    return withUnsafeBytes(of: (length ?? UInt64(text.count)).littleEndian) { Data($0) } + text + data
  }

  private func tensor(_ dtype: DType, _ shape: [Int], seed: UInt64) -> Tensor {
    let tensor = Tensor(shape, dtype: dtype)
    tensor.rawBytes.copyBytes(from: noise(tensor.byteCount, seed: seed))
    return tensor
  }

  @Test("tensors of every type come back with their bytes")
  func everyTypeComesBack() throws {
    let scratch = try Scratch()
    let tensors = DType.allCases.filter { $0.safetensorsName != nil }.enumerated().map { index, dtype in
      (name: "t \"\(index)\"/\(dtype)", tensor: tensor(dtype, [3, index + 1], seed: UInt64(index)))
    }
    try SafetensorsWriter.write(path: scratch("a.safetensors"), tensors: tensors, metadata: ["format": "pt"])
    let file = try SafetensorsFile(path: scratch("a.safetensors"))
    #expect(file.names == tensors.map(\.name))
    #expect(file.metadata == ["format": "pt"])
    for (name, tensor) in tensors {
      let read = try file.tensor(name)
      #expect(read.dtype == tensor.dtype && read.shape == tensor.shape)
      #expect(bytes(read) == bytes(tensor))
      #expect(UInt(bitPattern: read.rawBytes.baseAddress) % UInt(read.dtype.size) == 0)
    }
  }

  @Test("aligned tensors share the mapping, others are copies")
  func alignedTensorsShareTheMapping() throws {
    let scratch = try Scratch()
    let tensors = [
      ("flags", tensor(.bool, [4], seed: 1)), ("odd", tensor(.uint8, [3], seed: 2)), ("x", Tensor([1, 2], [2])),
    ]
    try SafetensorsWriter.write(path: scratch("a.safetensors"), tensors: tensors.map { (name: $0.0, tensor: $0.1) })
    let file = try SafetensorsFile(path: scratch("a.safetensors"))
    #expect(try file.tensor("flags").storage === file.tensor("odd").storage)
    #expect(try file.tensor("flags").storage.isReadOnly)
    let copy = try file.tensor("x")
    #expect(!copy.storage.isReadOnly && copy.values == [1, 2])
  }

  @Test("the header is padded to 8 bytes and keeps the order of tensors") func headerIsPaddedAndOrderKept() throws {
    let scratch = try Scratch()
    try SafetensorsWriter.write(
      path: scratch("a"), tensors: [("b", Tensor([1], [1])), ("a", Tensor([2], [1]))], metadata: [:])
    let data = try scratch.read("a")
    let length = Int(data[0])
    #expect(length % 8 == 0 && data.count == 8 + length + 8)
    let header = String(decoding: data[8..<8 + length], as: UTF8.self)
    #expect(
      header.trimmingCharacters(in: .whitespaces)
        == #"{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#
    )
  }

  @Test("a tensor keeps the mapping of its file alive")
  func tensorsOutliveTheFileObject() throws {
    let scratch = try Scratch()
    try SafetensorsWriter.write(path: scratch("a"), tensors: [("x", Tensor([5, 6], [2]))])
    let tensor = try SafetensorsFile(path: scratch("a")).tensor("x")
    #expect(tensor.values == [5, 6])
  }

  @Test("scalars, empty tensors and files without tensors can be read") func scalarsAndEmptyTensors() throws {
    let scratch = try Scratch()
    try SafetensorsWriter.write(path: scratch("a"), tensors: [("s", Tensor([7], [])), ("e", Tensor([0, 4]))])
    let file = try SafetensorsFile(path: scratch("a"))
    #expect(try file.tensor("s").values == [7])
    #expect(try file.tensor("e").shape == [0, 4])
    try SafetensorsWriter.write(path: scratch("none"), tensors: [])
    #expect(try SafetensorsFile(path: scratch("none")).names.isEmpty)
  }

  @Test("truncation at any byte is an error with advice") func truncationAtEveryByteIsNoticed() throws {
    let scratch = try Scratch()
    try SafetensorsWriter.write(path: scratch("a"), tensors: [("x", Tensor([1, 2, 3], [3]))])
    let whole = try scratch.read("a")
    for count in 0..<whole.count {
      let path = try scratch.put("cut", whole.prefix(count))
      let text = try message { _ = try SafetensorsFile(path: path) }
      #expect(text.hasPrefix(path) && text.contains("copy or download it again"), "\(count) bytes: \(text)")
    }
  }

  @Test(
    "an invalid header is an error that says what is wrong",
    arguments: [
      (#"{"x":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, "`x` has the unsupported type F8_E4M3"),
      (
        #"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#,
        "`x` of shape [1] and type F32 does not fill its 8 bytes"
      ),
      (#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#, "truncated: tensor `x` ends at data byte 12"),
      (#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, "`x` follows a gap"),
      (#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, "4 bytes after the last tensor"),
      (
        #"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}}"#,
        "`y` overlaps"
      ),
      (#"{"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, "`x` of shape [-2]"),
      (#"{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#, "does not fill"),
      (#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, "data_offsets [8, 0]"),
      (#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, "data_offsets [0]"),
      (#"{"x":{"dtype":"F32","shape":[2]}}"#, "has no data_offsets"),
      (#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}}"#, "header is not valid"),
      (#"{"__metadata__":{"a":1}}"#, "__metadata__"),
      (#"{"x""#, "header is not valid"),
      (#"[]"#, "header is not valid"),
      ("\u{0}\u{1}", "header is not valid"),
    ])
  func badHeaders(_ header: String, _ expected: String) throws {
    let scratch = try Scratch()
    let path = try scratch.put("bad", raw(header, data: noise(8)))
    let text = try message { _ = try SafetensorsFile(path: path) }
    #expect(text.contains(expected), "\(text)")
  }

  @Test("missing files and those of other formats are refused") func otherFilesAreRefused() throws {
    let scratch = try Scratch()
    let huge = try scratch.put("huge", raw("{}", data: Data(), length: .max))
    #expect(try message { _ = try SafetensorsFile(path: huge) }.contains("not a safetensors file"))
    #expect(try message { _ = try SafetensorsFile(path: scratch("none")) }.contains("No such file"))
  }

  @Test("the error for an unknown tensor names some that are there")
  func unknownNamesSayWhatThereIs() throws {
    let scratch = try Scratch()
    try SafetensorsWriter.write(path: scratch("a"), tensors: [("x", Tensor([1], [1]))])
    #expect(
      try message { _ = try SafetensorsFile(path: scratch("a")).tensor("y") }.contains("no tensor `y`; it holds `x`"))
    let twice = try message {
      try SafetensorsWriter.write(path: scratch("b"), tensors: [("x", Tensor([1])), ("x", Tensor([1]))])
    }
    #expect(twice.contains("two tensors named `x`"))
  }

  @Test("a failed write leaves no file") func failedWriteLeavesNothing() throws {
    struct Stop: Error {}
    let scratch = try Scratch()
    #expect(throws: Stop.self) {
      try SafetensorsWriter.write(
        path: scratch("a"), announced: [.init(name: "x", dtype: .uint8, shape: [4])]
      ) { _, file in
        try file.write(noise(2))
        throw Stop()
      }
    }
    #expect(try scratch.entries().isEmpty)
  }
}

@Suite struct SafetensorsFolderTests {
  private func sharded(_ scratch: Scratch) throws {
    try SafetensorsWriter.write(path: scratch("model-1.safetensors"), tensors: [("a", Tensor([1], [1]))])
    try SafetensorsWriter.write(path: scratch("model-2.safetensors"), tensors: [("b", Tensor([2], [1]))])
    try scratch.put(
      "model.safetensors.index.json",
      #"{"metadata":{"total_size":8},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#)
    try scratch.put("config.json", "{}")
  }

  @Test("the shards of a folder are read as one file") func shardsAreOneFolder() throws {
    let scratch = try Scratch()
    try sharded(scratch)
    let folder = try SafetensorsFolder(path: scratch.path)
    #expect(folder.names == ["a", "b"])
    #expect(folder.contains("b") && !folder.contains("c"))
    #expect(try folder.tensor("b").values == [2])
    #expect(try message { _ = try folder.tensor("c") }.contains("no tensor `c`"))
  }

  @Test("a folder with a single file is read") func singleFile() throws {
    let scratch = try Scratch()
    try SafetensorsWriter.write(path: scratch("model.safetensors"), tensors: [("a", Tensor([1, 2], [2]))])
    #expect(try SafetensorsFolder(path: scratch.path).tensor("a").values == [1, 2])
  }

  @Test("a missing shard, tensor or folder is an error that names it")
  func missingPiecesAreNamed() throws {
    let scratch = try Scratch()
    #expect(try message { _ = try SafetensorsFolder(path: scratch.path) }.contains("neither model.safetensors nor"))
    #expect(try message { _ = try SafetensorsFolder(path: scratch("x")) }.contains("no such folder"))
    try sharded(scratch)
    try FileManager.default.removeItem(atPath: scratch("model-2.safetensors"))
    #expect(try message { _ = try SafetensorsFolder(path: scratch.path) }.contains("model-2.safetensors: cannot open"))
    try SafetensorsWriter.write(path: scratch("model-2.safetensors"), tensors: [("z", Tensor([2], [1]))])
    #expect(try message { _ = try SafetensorsFolder(path: scratch.path) }.contains("has no tensor `b`"))
    try scratch.put("model.safetensors.index.json", #"{"weight_map":{"a":"../model-1.safetensors"}}"#)
    #expect(try message { _ = try SafetensorsFolder(path: scratch.path) }.contains("`../model-1.safetensors`"))
    try scratch.put("model.safetensors.index.json", "{")
    #expect(try message { _ = try SafetensorsFolder(path: scratch.path) }.contains("no valid `weight_map`"))
  }

  @Test("the fingerprint changes with the config and with the weights")
  func fingerprintFollowsConfigAndWeights() throws {
    let scratch = try Scratch()
    try sharded(scratch)
    let first = try SafetensorsFolder.fingerprint(folder: scratch.path)
    #expect(first.hasPrefix("sha256:") && first.count == 7 + 64)
    #expect(try SafetensorsFolder.fingerprint(folder: scratch.path) == first)
    try scratch.put("config.json", "{ }")
    let second = try SafetensorsFolder.fingerprint(folder: scratch.path)
    try SafetensorsWriter.write(path: scratch("model-2.safetensors"), tensors: [("b", Tensor([3], [1]))])
    let third = try SafetensorsFolder.fingerprint(folder: scratch.path)
    #expect(Set([first, second, third]).count == 3)
  }

  @Test("the fingerprint of a large file, which is sampled, covers its last byte")
  func fingerprintSamplesLargeFiles() throws {
    let scratch = try Scratch()
    try scratch.put("config.json", "{}")
    let data = (0..<20).reduce(into: Data()) { data, _ in data += noise(300_000) }
    func fingerprint(_ data: Data) throws -> String {
      try SafetensorsWriter.write(
        path: scratch("model.safetensors"), announced: [.init(name: "x", dtype: .uint8, shape: [data.count])]
      ) { try $1.write(data) }
      return try SafetensorsFolder.fingerprint(folder: scratch.path)
    }
    var changed = data
    changed[changed.count - 1] ^= 1
    #expect(try fingerprint(data) != fingerprint(changed))
    #expect(try fingerprint(data) == fingerprint(data))
  }
}
