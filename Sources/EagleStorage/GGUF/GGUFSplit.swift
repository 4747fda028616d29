import EagleCore
import Foundation

/// A model in several files, as llama.cpp's gguf-split cuts them: `NAME-00001-of-00003.gguf` and so on. The first has
/// all metadata, each some of the tensors.
struct GGUFSplit {
  /// Its number, from 0.
  let number: Int
  let count: Int
  /// Tensors of all parts together.
  let tensors: Int

  /// What a header says of its part; nil for a model in one file.
  init?(of header: GGUFHeader, path: String) throws {
    func int(_ key: String) throws -> Int? {
      guard let value = header.metadata[key] else { return nil }
      guard let int = value.int, int >= 0 else { throw Self.damaged(path, "`\(key)` is no count") }
      return int
    }
    guard let count = try int("split.count"), count > 1 else { return nil }
    guard let number = try int("split.no"), let tensors = try int("split.tensors.count"), number < count else {
      throw Self.damaged(path, "`split.no` and `split.tensors.count` do not fit a model of \(count) parts")
    }
    (self.number, self.count, self.tensors) = (number, count, tensors)
  }

  private static func damaged(_ path: String, _ problem: String) -> LocatedError {
    LocatedError(path: path, problem: problem, advice: "the file is damaged: copy or download it again")
  }

  /// The path of a part by its number, from the path of this one.
  private func paths(from path: String) throws -> (Int) -> String {
    func suffix(_ number: Int) -> String {
      func digits(_ value: Int) -> String {
        let text = "\(value)"
        return String(repeating: "0", count: max(0, 5 - text.count)) + text
      }
      return "-\(digits(number + 1))-of-\(digits(count)).gguf"
    }
    guard path.hasSuffix(suffix(number)) else {
      throw LocatedError(
        path: path, problem: "is part \(number + 1) of \(count), and its name does not end in \(suffix(number))",
        advice: "give all parts the names that they came with: the others are found by them")
    }
    let name = path.dropLast(suffix(number).count)
    return { name + suffix($0) }
  }

  /// Maps and checks the other parts of the model whose first one is at `path`.
  ///
  /// - Throws: `LocatedError` when it is not the first one, and for a part that is missing or of another model
  func others(of first: GGUFPart) throws -> [GGUFPart] {
    let path = try paths(from: first.path)
    guard number == 0 else {
      throw LocatedError(
        path: first.path, problem: "is part \(number + 1) of \(count) of a model", advice: "name the first: \(path(0))")
    }
    let others = try (1..<count).map { try part($0, at: path($0)) }
    let parts = [first] + others
    var names: Set<String> = []
    for part in parts {
      if let twice = part.header.tensors.first(where: { !names.insert($0.name).inserted }) {
        throw foreign(part.path, "the tensor `\(twice.name)` is also in an earlier part")
      }
    }
    guard names.count == tensors else {
      throw LocatedError(
        path: first.path, problem: "the \(count) parts hold \(names.count) tensors, and the first says \(tensors)",
        advice: "a part belongs to another model: copy or download all of them again")
    }
    return others
  }

  private func part(_ index: Int, at path: String) throws -> GGUFPart {
    guard FileTree.isFile(path) else {
      throw LocatedError(
        path: path, problem: "part \(index + 1) of \(count) of the model is missing",
        advice: "put all parts into one folder")
    }
    let part = try GGUFPart(path: path, number: index)
    guard let split = try GGUFSplit(of: part.header, path: path), split.number == index, split.count == count,
      split.tensors == tensors
    else { throw foreign(path, "its `split` keys are those of another") }
    return part
  }

  private func foreign(_ path: String, _ reason: String) -> LocatedError {
    LocatedError(
      path: path, problem: "is no part of the same model: \(reason)",
      advice: "take all parts from the same place: copy or download them again")
  }
}

/// A mapped GGUF file of a model, and its header.
struct GGUFPart {
  let file: MappedFile
  let header: GGUFHeader
  var path: String { file.path }

  /// - Parameter number: among the parts of the model, from 0
  init(path: String, number: Int = 0) throws {
    let file = try MappedFile(path: path)
    header = try withExtendedLifetime(file) { try GGUFHeader(of: file, part: number) }
    self.file = file
  }
}
