//! Writes small compound files for tests.

/// A compound file with version 3 sectors. Paths are joined with `/`; storages are made as needed,
/// each with the class `classes` gives for its path (empty for the root).
pub(crate) fn compound(streams: &[(&str, &[u8])], classes: &[(&str, [u8; 16])]) -> Vec<u8> {
    let mut nodes = vec![Node::storage("", "", 5)];
    for (path, content) in streams {
        let mut parent = 0;
        let parts: Vec<&str> = path.split('/').collect();
        for depth in 1..parts.len() {
            let path = parts[..depth].join("/");
            let known = nodes.iter().position(|node| node.path == path);
            parent = known.unwrap_or_else(|| {
                nodes.push(Node::storage(&path, parts[depth - 1], 1));
                let index = nodes.len() - 1;
                nodes[parent].children.push(index);
                index
            });
        }
        let name = parts.last().copied().unwrap_or_default();
        nodes.push(Node { content: content.to_vec(), ..Node::storage(path, name, 2) });
        let index = nodes.len() - 1;
        nodes[parent].children.push(index);
    }
    for (path, class) in classes {
        if let Some(node) = nodes.iter_mut().find(|node| node.path == *path && node.kind != 2) {
            node.class = *class;
        }
    }
    let mut image = Image::default();
    image.place(&mut nodes);
    image.write(&nodes)
}

struct Node {
    path: String,
    name: String,
    kind: u8,
    class: [u8; 16],
    content: Vec<u8>,
    children: Vec<usize>,
    start: u32,
}

impl Node {
    fn storage(path: &str, name: &str, kind: u8) -> Self {
        let (path, name) = (path.to_owned(), name.to_owned());
        let (class, content, children, start) = ([0; 16], Vec::new(), Vec::new(), END);
        Self { path, name, kind, class, content, children, start }
    }
}

const END: u32 = 0xffff_fffe;

#[derive(Default)]
struct Image {
    sectors: Vec<u8>,
    fat: Vec<u32>,
    mini: Vec<u8>,
    mini_fat: Vec<u32>,
}

impl Image {
    fn chain(&mut self, content: &[u8]) -> u32 {
        if content.is_empty() {
            return END;
        }
        let start = self.fat.len() as u32;
        let count = content.len().div_ceil(512) as u32;
        self.fat.extend((1..count).map(|next| start + next));
        self.fat.push(END);
        self.sectors.extend_from_slice(content);
        self.sectors.resize(self.fat.len() * 512, 0);
        start
    }

    fn place(&mut self, nodes: &mut [Node]) {
        for node in nodes.iter_mut().filter(|node| !node.content.is_empty()) {
            if node.content.len() >= 4096 {
                node.start = self.chain(&node.content);
                continue;
            }
            node.start = self.mini_fat.len() as u32;
            let count = node.content.len().div_ceil(64) as u32;
            self.mini_fat.extend((1..count).map(|next| node.start + next));
            self.mini_fat.push(END);
            self.mini.extend_from_slice(&node.content);
            self.mini.resize(self.mini_fat.len() * 64, 0);
        }
        let mini = std::mem::take(&mut self.mini);
        nodes[0].start = self.chain(&mini);
        nodes[0].content = mini;
    }

    fn write(mut self, nodes: &[Node]) -> Vec<u8> {
        let mini_fat: Vec<u8> = self.mini_fat.iter().flat_map(|next| next.to_le_bytes()).collect();
        let mini_fat = self.chain(&mini_fat);
        let mut directory = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let parent = nodes.iter().find(|parent| parent.children.contains(&index));
            let right = parent.and_then(|parent| {
                let place = parent.children.iter().position(|child| *child == index)?;
                parent.children.get(place + 1)
            });
            let link = |index: Option<&usize>| index.map_or(u32::MAX, |index| *index as u32);
            let mut name: Vec<u8> = node.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let length = name.len() as u16 + 2;
            name.resize(64, 0);
            directory.extend(name);
            directory.extend(length.to_le_bytes());
            directory.extend([node.kind, 1]);
            directory.extend(u32::MAX.to_le_bytes());
            directory.extend(link(right).to_le_bytes());
            directory.extend(link(node.children.first()).to_le_bytes());
            directory.extend(node.class);
            directory.extend([0; 20]);
            directory.extend(node.start.to_le_bytes());
            directory.extend((node.content.len() as u64).to_le_bytes());
        }
        let directory = self.chain(&directory);
        let tables = self.fat.len() / 127 + 1;
        let first = self.fat.len() as u32;
        self.fat.extend(std::iter::repeat_n(0xffff_fffd, tables));
        let mut header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
        header.extend([0; 16]);
        header.extend([0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for field in [tables as u32, directory, 0, 4096, mini_fat, 1, END, 0] {
            header.extend(field.to_le_bytes());
        }
        header.extend((0..tables as u32).flat_map(|table| (first + table).to_le_bytes()));
        header.resize(512, 0xff);
        self.fat.resize(tables * 128, u32::MAX);
        header.extend(self.sectors);
        header.extend(self.fat.iter().flat_map(|next| next.to_le_bytes()));
        header
    }
}
