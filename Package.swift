// swift-tools-version: 6.0
import PackageDescription

// The rooms of the project, from the bottom up. A target imports only targets above it in this list;
// Tests/ArchitectureTests reads the import lines and fails when one goes the other way.

/// The MPI library to build against, by its pkg-config name: Open MPI, or with `EAGLE_MPI=mpich` MPICH.
let mpi =
  Context.environment["EAGLE_MPI"] == "mpich"
  ? (name: "mpich", package: "libmpich-dev") : (name: "ompi-c", package: "libopenmpi-dev")

/// The C loops are optimised in every build configuration: a debug decoder would be ten times slower.
let kernelFlags: [CSetting] = [.unsafeFlags(["-O3", "-fno-math-errno", "-ffp-contract=fast"])]

let package = Package(
  name: "eagle-train",
  products: [
    .executable(name: "eagle-train", targets: ["eagle-train"]),
    .executable(name: "eagle-run", targets: ["eagle-run"]),
    .library(
      name: "EagleTrain",
      targets: [
        "EagleCore", "EagleTensor", "EagleAutograd", "EagleText", "EagleStorage", "EagleCluster", "EagleModels",
        "EagleDecoding", "EagleTraining", "EagleReport", "EagleServer", "EagleRecipe",
      ]),
  ],
  dependencies: [
    // The two commands: flags, help and usage errors.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    // SHA-256 of checkpoints, models and shards.
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    // Recipes are YAML.
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    // eagle-run serve speaks HTTP: connections, parsing and streaming bodies on SwiftNIO. The two below come with it: its
    // orderly end, and its log, which stays silent.
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    // What hummingbird stands on: a handler of ours watches each connection.
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.34.1"),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
  ],
  targets: [
    // C libraries, one module each.
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-openmp-dev"])]),
    .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
    .systemLibrary(name: "CMPI", pkgConfig: mpi.name, providers: [.apt([mpi.package])]),
    .systemLibrary(name: "CHDF5", pkgConfig: "hdf5", providers: [.apt(["libhdf5-dev"])]),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(
      name: "CEagleKernels", cSettings: kernelFlags, linkerSettings: [.linkedLibrary("gomp"), .linkedLibrary("m")]),

    // One function, compiled again when scripts/version has noted another commit.
    .target(name: "CEagleVersion"),

    .target(name: "EagleCore"),
    .target(name: "EagleTensor", dependencies: ["CEagleKernels", "COneDNN", "COpenBLAS"]),
    .target(name: "EagleAutograd", dependencies: ["EagleTensor", "CEagleKernels"]),
    .target(name: "EagleText", dependencies: ["EagleCore", "CPCRE2", "CZlib", "CZstd"]),
    .target(
      name: "EagleStorage",
      dependencies: ["EagleCore", "EagleTensor", "CHDF5", .product(name: "Crypto", package: "swift-crypto")]),
    .target(name: "EagleCluster", dependencies: ["EagleCore", "CMPI", "CEagleKernels"]),
    .target(
      name: "EagleModels",
      dependencies: ["CEagleKernels", "EagleCore", "EagleTensor", "EagleAutograd", "EagleText", "EagleStorage"]),
    .target(
      name: "EagleDecoding", dependencies: ["CEagleKernels", "EagleTensor", "EagleAutograd", "EagleModels"]),
    .target(
      name: "EagleTraining",
      dependencies: [
        "CEagleKernels", "CEagleVersion", "EagleTensor", "EagleAutograd", "EagleText", "EagleStorage", "EagleCluster",
        "EagleModels", "EagleDecoding",
      ]),
    .target(name: "EagleReport", dependencies: ["EagleStorage", "EagleModels", "EagleTraining"]),
    .target(
      name: "EagleRecipe",
      dependencies: [
        "EagleTensor", "EagleStorage", "EagleCluster", "EagleModels", "EagleTraining", "EagleReport", "Yams",
      ]),
    .target(
      name: "EagleServer",
      dependencies: [
        "EagleCore", "EagleText", "EagleModels", "EagleDecoding", "EagleTraining", "EagleReport",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
      ],
      resources: [.embedInCode("Page/chat.html")]),
    .executableTarget(
      name: "eagle-train",
      dependencies: [
        "EagleCore", "EagleRecipe", "EagleServer", "EagleReport", "EagleTraining", "EagleCluster", "EagleStorage",
        "EagleModels",
        "EagleTensor",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .executableTarget(
      name: "eagle-run",
      dependencies: [
        "EagleCore", "EagleServer", "EagleTraining", "EagleDecoding", "EagleModels", "EagleStorage", "EagleText",
        "EagleTensor",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // Manual pages from what the commands say about themselves; make install runs it.
    .executableTarget(name: "eagle-manual", dependencies: ["EagleCore"]),

    .testTarget(name: "ArchitectureTests"),
    .testTarget(name: "EagleCoreTests", dependencies: ["EagleCore"]),
    .testTarget(name: "EagleTensorTests", dependencies: ["EagleTensor", "CEagleKernels"]),
    .testTarget(name: "EagleAutogradTests", dependencies: ["EagleAutograd"]),
    .testTarget(name: "EagleTextTests", dependencies: ["EagleCore", "EagleText"]),
    .testTarget(name: "EagleStorageTests", dependencies: ["EagleStorage", "EagleTensor"]),
    .testTarget(name: "EagleClusterTests", dependencies: ["EagleCluster"]),
    .testTarget(name: "EagleModelsTests", dependencies: ["EagleModels", "EagleStorage", "EagleTensor"]),
    .testTarget(
      name: "EagleDecodingTests",
      dependencies: ["EagleDecoding", "EagleModels", "EagleStorage", "EagleTensor"]),
    .testTarget(
      name: "EagleTrainingTests",
      dependencies: ["EagleTraining", "EagleCluster", "EagleModels", "EagleStorage", "EagleTensor"]),
    .testTarget(name: "EagleReportTests", dependencies: ["EagleReport", "EagleTraining"]),
    .testTarget(
      name: "EagleServerTests",
      dependencies: ["EagleCore", "EagleServer", "EagleModels", "EagleTensor", "EagleDecoding", "EagleText"]),
    .testTarget(name: "EagleRecipeTests", dependencies: ["EagleRecipe", "EagleTraining"]),
    .testTarget(
      name: "CommandTests",
      dependencies: ["EagleCluster", "EagleStorage", "EagleTensor", "EagleText", "EagleModels", "EagleTraining"]),
  ],
  swiftLanguageModes: [.v6]
)
